package privacy

import (
	"bytes"
	"crypto/sha3"
	"fmt"
	"io"
	"math"
	"math/big"
	"testing"
)

// stream is a fixed random stream for each name.
func stream(name string) io.Reader {
	x := sha3.NewSHAKE128()
	x.Write([]byte(name))
	return x
}

// exactProbability is that of x under the discrete Gaussian.
func exactProbability(x, variance float64) float64 {
	total := 0.0
	for k := -60 * math.Sqrt(variance+1); k <= 60*math.Sqrt(variance+1); k++ {
		k := math.Round(k)
		total += math.Exp(-k * k / (2 * variance))
	}
	return math.Exp(-x*x/(2*variance)) / total
}

// chiSquare compares samples of one variance with the probabilities of another.
func chiSquare(t *testing.T, sampled, expected int64, times int) (chi float64, freedom int) {
	t.Helper()
	r := stream(fmt.Sprint("chi ", sampled))
	reach := int64(2.2*math.Sqrt(float64(expected))) + 1
	counts := map[int64]float64{}
	for range times {
		x, err := SampleDiscreteGaussian(r, big.NewInt(sampled))
		if err != nil {
			t.Fatal(err)
		}
		counts[min(max(x.Int64(), -reach), reach)]++
	}
	inner := 0.0
	for x := -reach + 1; x < reach; x++ {
		pr := exactProbability(float64(x), float64(expected))
		inner += pr
		want := pr * float64(times)
		chi += (counts[x] - want) * (counts[x] - want) / want
	}
	want := (1 - inner) / 2 * float64(times)
	for _, x := range []int64{-reach, reach} {
		chi += (counts[x] - want) * (counts[x] - want) / want
	}
	return chi, int(2*reach + 1 - 1)
}

// TestSamplesAreDiscreteGaussian: chi-square against the exact probabilities; the
// same test rejects a variance that is off by a tenth.
func TestSamplesAreDiscreteGaussian(t *testing.T) {
	const times = 40_000
	limit := func(freedom int) float64 { return float64(freedom) + 4.5*math.Sqrt(2*float64(freedom)) + 4 }
	for _, variance := range []int64{1, 2, 10, 100, 731} {
		chi, freedom := chiSquare(t, variance, variance, times)
		if chi > limit(freedom) {
			t.Errorf("variance %d: chi-square %.1f with %d degrees of freedom", variance, chi, freedom)
		}
	}
	if chi, freedom := chiSquare(t, 110, 100, times); chi < limit(freedom) {
		t.Errorf("a variance that is off by a tenth passes with chi-square %.1f", chi)
	}
}

// TestLargeVariancesHaveTheirMoments: mean, variance and tails where counting
// single values is not possible.
func TestLargeVariancesHaveTheirMoments(t *testing.T) {
	const times = 20_000
	variance := new(big.Int).Lsh(big.NewInt(3), 69)
	sd := math.Sqrt(3 * math.Exp2(69))
	r := stream("moments")
	var sum, squares, tail float64
	odd := 0
	for range times {
		x, err := SampleDiscreteGaussian(r, variance)
		if err != nil {
			t.Fatal(err)
		}
		f, _ := x.Float64()
		f /= sd
		sum, squares = sum+f, squares+f*f
		if math.Abs(f) > 2 {
			tail++
		}
		odd += int(x.Bit(0))
	}
	if mean := sum / times; math.Abs(mean) > 5/math.Sqrt(times) {
		t.Errorf("mean %.4f standard deviations", mean)
	}
	if v := squares / times; math.Abs(v-1) > 5*math.Sqrt(2.0/times) {
		t.Errorf("variance is %.4f times what was asked", v)
	}
	if p := tail / times; math.Abs(p-0.0455) > 5*math.Sqrt(0.0455/times) {
		t.Errorf("%.4f of samples are beyond two standard deviations", p)
	}
	if math.Abs(float64(odd)/times-0.5) > 5*0.5/math.Sqrt(times) {
		t.Errorf("%d of %d samples are odd", odd, times)
	}
}

// TestSamplesAreAFunctionOfTheStream: holders of a key draw the same noise; these
// values are pinned, because a release must open with noise drawn years ago.
func TestSamplesAreAFunctionOfTheStream(t *testing.T) {
	r := stream("pinned")
	got := ""
	for _, variance := range []int64{0, 1, 50, 1 << 40, 1 << 62} {
		x, err := SampleDiscreteGaussian(r, big.NewInt(variance))
		if err != nil {
			t.Fatal(err)
		}
		got += x.String() + " "
	}
	const want = "0 1 -7 -2595166 -2189401984 "
	if got != want {
		t.Errorf("samples are %q, want %q", got, want)
	}
}

// TestBrokenStreamsAreAnError: a stream that ends, or is stuck, gives no sample.
func TestBrokenStreamsAreAnError(t *testing.T) {
	if _, err := SampleDiscreteGaussian(bytes.NewReader(make([]byte, 3)), big.NewInt(1<<40)); err == nil {
		t.Error("a stream of three bytes was enough")
	}
	for _, b := range []byte{0x00, 0xff} {
		stuck := stuckReader(b)
		if x, err := SampleDiscreteGaussian(stuck, big.NewInt(1<<40)); err == nil && x.Sign() != 0 {
			t.Errorf("a stream of %#x gives %s", b, x)
		}
	}
	for _, variance := range []*big.Int{nil, big.NewInt(-1), new(big.Int).Lsh(one, 161)} {
		if _, err := SampleDiscreteGaussian(stream(""), variance); err == nil {
			t.Errorf("variance %v was accepted", variance)
		}
	}
}

type stuckReader byte

func (s stuckReader) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(s)
	}
	return len(b), nil
}

func BenchmarkSampleDiscreteGaussian(b *testing.B) {
	r := stream("bench")
	variance := new(big.Int).Lsh(one, 50)
	for b.Loop() {
		if _, err := SampleDiscreteGaussian(r, variance); err != nil {
			b.Fatal(err)
		}
	}
}
