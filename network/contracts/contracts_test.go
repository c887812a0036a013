package contracts_test

import (
	"bytes"
	"context"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// listed reads methods.go: the constants by the methods that they name, and which of
// them are Reads.
func listed(t *testing.T) (names map[string]string, reads map[string]bool) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "methods.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names, reads = map[string]string{}, map[string]bool{}
	for _, d := range file.Decls {
		group, is := d.(*ast.GenDecl)
		if !is || group.Tok != token.CONST {
			continue
		}
		for _, s := range group.Specs {
			value := s.(*ast.ValueSpec)
			method, err := strconv.Unquote(value.Values[0].(*ast.BasicLit).Value)
			if err != nil || names[method] != "" {
				t.Fatalf("%s: %v, or it is there twice", method, err)
			}
			names[method] = value.Names[0].Name
			reads[method] = value.Type.(*ast.IndexListExpr).X.(*ast.Ident).Name == "Read"
		}
	}
	return names, reads
}

// What the contracts say of themselves is what the constants say.
func TestEveryContractMethodIsAConstantOfItsName(t *testing.T) {
	names, reads := listed(t)
	c := consortium.New(t)
	c.Open(t.TempDir())
	raw, err := c.Clients[consortium.HospitalA].Evaluate(t.Context(), network.Call{Function: "org.hyperledger.fabric:GetMetadata"})
	if err != nil {
		t.Fatal(err)
	}
	var meta struct {
		Contracts map[string]struct {
			Transactions []struct {
				Name string
				Tag  []string
			}
		}
	}
	if err := json.Unmarshal(raw, &meta); err != nil {
		t.Fatal(err)
	}
	n := 0
	for contract, of := range meta.Contracts {
		if contract == "org.hyperledger.fabric" {
			continue
		}
		for _, m := range of.Transactions {
			n++
			method := contract + ":" + m.Name
			if names[method] != contract+m.Name {
				t.Errorf("%s is %q here", method, names[method])
			}
			if read := slices.Contains(m.Tag, "evaluate") || slices.Contains(m.Tag, "EVALUATE"); read != reads[method] {
				t.Errorf("%s has the tags %q and is a Read here: %v", method, m.Tag, reads[method])
			}
		}
	}
	if n != len(names) || n < 40 {
		t.Errorf("the contracts have %d methods, %d are here", n, len(names))
	}
}

// ledger answers every call with one text, and keeps the calls.
type ledger struct {
	answer string
	lost   int // so many races
	calls  []network.Call
}

func (l *ledger) Submit(_ context.Context, c network.Call) (network.Result, error) {
	l.calls = append(l.calls, c)
	return network.Result{TxID: "tx", Payload: []byte(l.answer)}, l.race()
}

func (l *ledger) Evaluate(_ context.Context, c network.Call) ([]byte, error) {
	l.calls = append(l.calls, c)
	return []byte(l.answer), nil
}

func (l *ledger) race() error {
	if len(l.calls) > l.lost {
		return nil
	}
	return fault.New(fault.Contention, "lost")
}

func (*ledger) Blocks(context.Context, uint64) iter.Seq2[*network.Block, error] { return nil }

func TestAnAnswerThatIsNoneIsAFaultOfTheMethod(t *testing.T) {
	l := &ledger{answer: `{"time": "noon"}`}
	_, res, err := contracts.ClockTick.Submit(t.Context(), l, record.Tick{})
	if fault.Of(err) != fault.Internal || !strings.Contains(err.Error(), contracts.ClockTick.Name()) || res.TxID != "tx" {
		t.Errorf("%v of transaction %q", err, res.TxID)
	}
	if _, err := contracts.ClockNow.Evaluate(t.Context(), l, struct{}{}); fault.Of(err) != fault.Internal {
		t.Error(err)
	}
	l.answer = `{"time": 7, "new": true}`
	if tick, err := contracts.ClockNow.Evaluate(t.Context(), l, struct{}{}); err != nil || tick.Time != 7 {
		t.Errorf("a newer contract's answer: %+v, %v", tick, err)
	}
}

func TestARaceThatIsLostIsRunAgain(t *testing.T) {
	l := &ledger{answer: `{"time": 7}`, lost: 2}
	if tick, _, err := contracts.ClockTick.Submit(t.Context(), l, record.Tick{}); err != nil || tick.Time != 7 || len(l.calls) != 3 {
		t.Errorf("%d calls: %+v, %v", len(l.calls), tick, err)
	}
}

func TestWhatIsPrivateInAnArgumentIsNotOnTheChain(t *testing.T) {
	c := consortium.New(t)
	id, nonce := record.RandomID(), record.RandomID()
	details := consent.Details{Salt: nonce, Signed: consent.Signed{Document: consent.Document{ID: id, Grantee: "Grantee", Purpose: "SecretPurpose"}}}
	question := record.Question{Salt: nonce, Ask: record.AskPredicate{Patient: id, Purpose: "SecretPurpose"}}
	for name, made := range map[string]func() (network.Call, error){
		"consent": func() (network.Call, error) {
			return contracts.ConsentPut.Call(contracts.Consent{Network: c.Genesis.Network, Details: details})
		},
		"question": func() (network.Call, error) {
			return contracts.PredicateRequest.Call(contracts.Question{Network: c.Genesis.Network, Question: question})
		},
		"proof": func() (network.Call, error) {
			return contracts.PredicateClose.Call(contracts.Outcome{Request: "r", Proof: []byte("SecretPurpose")})
		},
		"to": func() (network.Call, error) {
			return contracts.PredicateShare.Call(contracts.Sharing{Request: "r", To: "SecretPurpose"})
		},
	} {
		call, err := made()
		if err != nil {
			t.Fatal(err)
		}
		if len(call.Args) != 1 || strings.Contains(call.Args[0], "Secret") || strings.Contains(call.Args[0], nonce.String()) {
			t.Errorf("%s: the argument is %s", name, call.Args)
		}
		said := ""
		for _, v := range call.Transient {
			said += string(v)
		}
		if !strings.Contains(said, "SecretPurpose") {
			t.Errorf("%s: it is not in the transient data either", name)
		}
	}
	if call, err := contracts.PredicateClose.Call(contracts.Outcome{Request: "r"}); err != nil || len(call.Transient) != 0 {
		t.Errorf("closed without a proof: %v, %v", call.Transient, err)
	}
}

// A method that is called by its name alone is called with whatever document. The names
// are here; where the types here do not allow a call, Name does.
func TestNoOtherPackageWritesTheNameOfAMethod(t *testing.T) {
	name := regexp.MustCompile(`"[A-Z][a-z]+:[A-Z]`)
	root := filepath.Join("..", "..")
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go" || filepath.Dir(path) == filepath.Join(root, "network", "contracts"):
			return nil
		}
		files++
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, found := range name.FindAllIndex(source, -1) {
			line := 1 + bytes.Count(source[:found[0]], []byte("\n"))
			t.Errorf("%s:%d names a method: use its constant", path, line)
		}
		return nil
	})
	if err != nil || files < 500 {
		t.Errorf("%d files were read: %v", files, err)
	}
}

// uncalled are the methods that no program calls, each with why it is there all the same.
// Reads are public: a program of somebody else's, or an auditor with an identity of the
// channel, asks one peer where ours read the blocks and need not believe it.
var uncalled = map[string]string{
	"RegistryGetGenesis":  "what network a channel is, to those who have no document of it; ours come with one",
	"RegistryGetRoster":   "which epochs live; ours know from the index",
	"RegistryGetEpoch":    "who shared secrets in an epoch; ours know from the index",
	"RegistryGetPieceKey": "whether a piece of the current epoch has its key; members open boxes by the index",
	"PointerGetBatch":     "which pointers were anchored together, for a receipt's path; ours know from the index",
	"StudyGet":            "what is left of a study's budget; ours know from the index",
	"QueryGet":            "how a query stands; ours know from the index",
	// Writes that an operator makes by hand, with `vitalveil institution call`.
	"RegistryFlagDevice":  "what a member has seen of a device",
	"RegistryVoteEpoch":   "a new epoch is decided by people",
	"RegistryRetireEpoch": "an epoch's end is decided by people",
	"PredicateShare":      "an institution that asked passes a request on to another",
}

// callers reads which constants a program's source uses: not their names alone, and not
// the index, which reads what others have called.
func callers(t *testing.T) map[string]bool {
	t.Helper()
	used := map[string]bool{}
	use := func(n ast.Node) bool {
		s, is := n.(*ast.SelectorExpr)
		if !is {
			return true
		}
		if x, is := s.X.(*ast.Ident); is && x.Name == "contracts" {
			used[s.Sel.Name] = true
		}
		return s.Sel.Name != "Name"
	}
	root := filepath.Join("..", "..")
	for _, part := range []string{"cmd", "gateway", "bridge", "network"} {
		err := filepath.WalkDir(filepath.Join(root, part), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (path == filepath.Join(root, "network", "index") || path == filepath.Join(root, "network", "conformance")):
				return filepath.SkipDir
			case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err == nil {
				ast.Inspect(file, use)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return used
}

func TestEveryMethodHasACallerOrAReason(t *testing.T) {
	names, reads := listed(t)
	called := callers(t)
	for method, name := range names {
		reason := uncalled[name]
		switch {
		case !called[name] && reason == "":
			t.Errorf("no program calls %s: give it a command, take it out of the contracts, or say in this test why it is there", method)
		case called[name] && reason != "" && reads[method]:
			t.Errorf("%s has a caller now: take it off the list", method)
		case called[name] && reason != "":
			t.Logf("%s has a command now: take it off the list", method)
		}
	}
	for name := range uncalled {
		if !slices.Contains(slices.Collect(maps.Values(names)), name) {
			t.Errorf("%s is on the list and no method", name)
		}
	}
}
