package he

import (
	"encoding/binary"
	"math/bits"
)

// Errors of rows are discrete Gaussian with standard deviation 3.2, the value of
// the 2018 HE standard. cumulative[k] is round(2^64 * Pr[|e| <= k]); a test
// recomputes it. The table ends where it reaches 2^64, so a sample is off the
// true distribution by less than 2^-58 in statistical distance.
var cumulative = [...]uint64{
	0x1fea5680c943e4b0, 0x5cb44ba804dffedc, 0x9135c4d05c7b7376, 0xba57841bcdf2a20c,
	0xd790d2950c5f9b9d, 0xea65b131d3a32bb4, 0xf5672d9301ebf597, 0xfb3c9d1ece2fd4e1,
	0xfe0a92ac2a14b256, 0xff439d33f1b7ed22, 0xffbf67e0151e6730, 0xffebcdef92fad1b1,
	0xfffa3f2b66e57a6c, 0xfffe81efef5db8c8, 0xffffa5cc5a0afde1, 0xffffeca0755450ea,
	0xfffffc3757334e88, 0xffffff5402819ca5, 0xffffffe43f1474ef, 0xfffffffbee4603e8,
	0xffffffff753fa8e5, 0xffffffffef36f19d, 0xfffffffffe27edf3, 0xffffffffffd0e913,
	0xfffffffffffbbc48, 0xffffffffffffa640, 0xfffffffffffff94d, 0xffffffffffffff8c,
	0xfffffffffffffff9,
}

const (
	errorVariance100 = 1024 // 100 times 3.2^2
	errorBytes       = 9    // randomness of one sample
)

// sampleError turns errorBytes random bytes into an error. It reads the whole
// table and does not branch on the sample.
func sampleError(random []byte) int64 {
	r := binary.LittleEndian.Uint64(random)
	var k int64
	for _, c := range &cumulative {
		_, below := bits.Sub64(r, c, 0)
		k += int64(1 - below)
	}
	sign := -int64(random[8] & 1)
	return (k ^ sign) - sign
}
