package conformance

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// edgeFunctions are the parts of Chaincode for testing what few contracts do.
var edgeFunctions = map[string]function{
	"walk":        {4, walk},
	"copy":        {2, copyOf},
	"copyPrivate": {2, copyPrivate},
	"dropPrivate": {1, func(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
		return nil, s.DelPrivateData(Collection, a[0])
	}},
	"change":         {-1, change},
	"fill":           {4, fill},
	"batch":          {-1, batch},
	"batchAfterPage": {0, batchAfterPage},
	"batchThenFail":  {0, batchThenFail},
	"noPageThenPut":  {1, noPageThenPut},
	"readAfterClose": {2, readAfterClose},
	"together":       {1, together},
	"large": {2, func(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
		n, err := strconv.Atoi(a[1])
		if err != nil {
			return nil, err
		}
		value := make([]byte, n)
		value[0] = 1
		return nil, s.PutState(a[0], value)
	}},
	"sizeOf": {1, func(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
		value, err := s.GetState(a[0])
		return []byte(strconv.Itoa(len(value))), err
	}},
}

// slowly runs a function and then waits, so that others overtake the transaction.
func slowly(s shim.ChaincodeStubInterface, a []string) *peer.Response {
	wait, err := time.ParseDuration(a[0])
	if err != nil {
		return shim.Error(err.Error())
	}
	r := call(s, a[1], a[2:])
	time.Sleep(wait)
	return r
}

// status answers with a status and a message, in hexadecimal.
func status(a []string) *peer.Response {
	n, err := strconv.ParseInt(a[0], 10, 32)
	if err != nil {
		return shim.Error(err.Error())
	}
	message, err := hex.DecodeString(a[1])
	if err != nil {
		return shim.Error(err.Error())
	}
	return &peer.Response{Status: int32(n), Message: string(message)}
}

// walk opens a range, looks at so many keys of it and writes how many there were.
func walk(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	most, err := strconv.Atoi(a[2])
	if err != nil {
		return nil, err
	}
	it, err := s.GetStateByRange(a[0], a[1])
	if err != nil {
		return nil, err
	}
	out, err := collect(it, most)
	if err != nil {
		return nil, err
	}
	return nil, s.PutState(a[3], []byte(strconv.Itoa(len(out))))
}

func copyOf(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	value, err := s.GetState(a[0])
	if err != nil {
		return nil, err
	}
	return nil, s.PutState(a[1], append([]byte("copy of "), value...))
}

// copyPrivate copies the hash of a private value to public state.
func copyPrivate(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	hash, err := s.GetPrivateDataHash(Collection, a[0])
	if err != nil {
		return nil, err
	}
	return nil, s.PutState(a[1], append([]byte("copy of "), hash...))
}

// change takes triples: "put" or "del", key, value.
func change(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	for ; len(a) >= 3; a = a[3:] {
		var err error
		if a[0] == "put" {
			err = s.PutState(a[1], []byte(a[2]))
		} else {
			err = s.DelState(a[1])
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// fill puts the keys that a prefix makes with numbers from, below and by how much.
func fill(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	var n [3]int
	for i := range n {
		var err error
		if n[i], err = strconv.Atoi(a[i+1]); err != nil {
			return nil, err
		}
	}
	for i := n[0]; i < n[1]; i += max(1, n[2]) {
		if err := s.PutState(fmt.Sprintf("%s%04d", a[0], i), []byte("v")); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func batch(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	s.StartWriteBatch()
	for ; len(a) >= 2; a = a[2:] {
		if err := s.PutState(a[0], []byte(a[1])); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// batchAfterPage gathers a write that a peer will refuse, and succeeds itself.
func batchAfterPage(s shim.ChaincodeStubInterface, _ []string) ([]byte, error) {
	s.StartWriteBatch()
	if _, _, err := s.GetStateByRangeWithPagination("", "", 1, ""); err != nil {
		return nil, err
	}
	return nil, s.PutState("untouched", []byte("2"))
}

func batchThenFail(s shim.ChaincodeStubInterface, _ []string) ([]byte, error) {
	if _, err := batchAfterPage(s, nil); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.Forbidden, "nobody hears of this")
}

func noPageThenPut(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	it, _, err := s.GetStateByRangeWithPagination("", "", 0, "")
	if err != nil {
		return nil, err
	}
	if err := it.Close(); err != nil {
		return nil, err
	}
	return nil, s.PutState(a[0], []byte("x"))
}

// readAfterClose counts what a range yields that was closed at once.
func readAfterClose(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	it, err := s.GetStateByRange(a[0], a[1])
	if err != nil {
		return nil, err
	}
	if err := it.Close(); err != nil {
		return nil, err
	}
	n := 0
	for ; it.HasNext(); n++ {
		if _, err := it.Next(); err != nil {
			break
		}
	}
	return []byte(strconv.Itoa(n)), nil
}

// together reads and walks in many goroutines and counts the calls that were
// served.
func together(s shim.ChaincodeStubInterface, a []string) ([]byte, error) {
	var served atomic.Int64
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			if _, err := s.GetState(fmt.Sprintf("%s%04d", a[0], i)); err == nil {
				served.Add(1)
			}
			if it, err := s.GetStateByRange(a[0], a[0]+"~"); err == nil {
				out, err := collect(it, -1)
				if err == nil && len(out) > 0 {
					served.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return []byte(strconv.FormatInt(served.Load(), 10)), nil
}
