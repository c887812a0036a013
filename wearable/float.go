package wearable

import (
	"math/big"
	"strconv"
	"strings"
)

// FloatKind tells numbers from the special values of IEEE 11073 floats.
type FloatKind uint8

// The kinds of a Float. Only Number has a value.
const (
	Number FloatKind = iota
	NaN
	NRes
	PositiveInfinity
	NegativeInfinity
	Reserved
)

// String returns the name that decoded fields show.
func (k FloatKind) String() string {
	switch k {
	case Number:
		return "number"
	case NaN:
		return "NaN"
	case NRes:
		return "NRes"
	case PositiveInfinity:
		return "+INF"
	case NegativeInfinity:
		return "-INF"
	}
	return "reserved"
}

// Float is a decimal float of ISO/IEEE 11073-20601 (2014, annex F.8 and F.9):
// Mantissa * 10^Exponent, with the transmitted precision kept (20 * 10^-1 is
// 2.0, not 2). SFLOAT has 16 bits: a 4-bit exponent and a 12-bit mantissa, both
// in two's complement; FLOAT has 8 and 24. The special values have exponent 0
// and one of the five mantissas around the sign change; the same mantissas with
// another exponent are ordinary numbers.
type Float struct {
	Kind     FloatKind
	Mantissa int32
	Exponent int8
}

const (
	sfloatMantissaBits = 12
	sfloatExponentBits = 4
	floatMantissaBits  = 24
	floatExponentBits  = 8
)

// DecodeSFLOAT reads the 16-bit form. Every bit pattern has a meaning.
func DecodeSFLOAT(raw uint16) Float {
	return decodeFloat(int32(raw<<4)<<16>>20, int8(int16(raw)>>sfloatMantissaBits), sfloatMantissaBits)
}

// DecodeFLOAT reads the 32-bit form. Every bit pattern has a meaning.
func DecodeFLOAT(raw uint32) Float {
	return decodeFloat(int32(raw<<8)>>8, int8(raw>>floatMantissaBits), floatMantissaBits)
}

func decodeFloat(mantissa int32, exponent int8, bits int) Float {
	if exponent == 0 {
		if kind := specialMantissa(mantissa, bits); kind != Number {
			return Float{Kind: kind}
		}
	}
	return Float{Kind: Number, Mantissa: mantissa, Exponent: exponent}
}

// specialMantissa names what a mantissa of that many bits means at exponent 0.
func specialMantissa(mantissa int32, bits int) FloatKind {
	limit := int32(1) << (bits - 1)
	switch mantissa {
	case limit - 1:
		return NaN
	case limit - 2:
		return PositiveInfinity
	case -limit:
		return NRes
	case 1 - limit:
		return Reserved
	case 2 - limit:
		return NegativeInfinity
	}
	return Number
}

// Decimal returns the exact value, and false for special values and for numbers
// with more digits than a Decimal has, such as 1e100.
func (f Float) Decimal() (Decimal, bool) {
	if f.Kind != Number {
		return Decimal{}, false
	}
	return NewDecimal(int64(f.Mantissa), -int(f.Exponent))
}

// times returns the exact value multiplied by a conversion factor.
func (f Float) times(factor *big.Rat) (Decimal, bool) {
	d, ok := f.Decimal()
	if !ok {
		return Decimal{}, false
	}
	return DecimalFromRat(new(big.Rat).Mul(d.Rat(), factor))
}

// String returns the value as transmitted: "2", "2.0" and "2.00" differ. Very
// large and very small numbers get an exponent; special values their name.
func (f Float) String() string {
	scale := -int(f.Exponent)
	switch {
	case f.Kind != Number:
		return f.Kind.String()
	case scale > MaxDigits || scale < -MaxDigits:
		return strconv.Itoa(int(f.Mantissa)) + "e" + strconv.Itoa(int(f.Exponent))
	case scale < 0 && f.Mantissa != 0:
		return strconv.Itoa(int(f.Mantissa)) + strings.Repeat("0", -scale)
	}
	return pointed(int64(f.Mantissa), max(scale, 0))
}

// SFLOATNaN is the 16-bit "not a number": the sensor has no value now.
const SFLOATNaN uint16 = 0x07FF

// EncodeSFLOAT returns the 16-bit form of a number that has an exact one. It
// does not use the mantissas of special values at any exponent, because
// receivers in the field take them for special.
func EncodeSFLOAT(v Decimal) (uint16, bool) {
	mantissa, exponent, ok := v.split(sfloatMantissaBits, sfloatExponentBits)
	return uint16(exponent)<<sfloatMantissaBits | uint16(mantissa)&(1<<sfloatMantissaBits-1), ok
}

// EncodeFLOAT returns the 32-bit form of a number that has an exact one, with
// the same restraint.
func EncodeFLOAT(v Decimal) (uint32, bool) {
	mantissa, exponent, ok := v.split(floatMantissaBits, floatExponentBits)
	return uint32(exponent)<<floatMantissaBits | uint32(mantissa)&(1<<floatMantissaBits-1), ok
}

// split finds mantissa and exponent of the given widths.
func (d Decimal) split(mantissaBits, exponentBits int) (int32, int, bool) {
	coef, exponent := d.coef, -int(d.scale)
	limit := int64(1) << (mantissaBits - 1)
	for magnitude(coef) >= uint64(limit) && coef%10 == 0 {
		coef /= 10
		exponent++
	}
	low := -(1 << (exponentBits - 1))
	fits := d.over == 0 && magnitude(coef) < uint64(limit) &&
		exponent >= low && exponent < -low &&
		specialMantissa(int32(coef), mantissaBits) == Number
	return int32(coef), exponent, fits
}

// raw returns the form of that many bytes, 2 or 4, of any float that Decode gives.
func (f Float) raw(wide int) (uint32, bool) {
	mantissaBits, exponentBits := sfloatMantissaBits, sfloatExponentBits
	if wide == 4 {
		mantissaBits, exponentBits = floatMantissaBits, floatExponentBits
	}
	mantissa, exponent := f.Mantissa, int(f.Exponent)
	limit := int32(1) << (mantissaBits - 1)
	if f.Kind != Number {
		exponent = 0
		mantissa = map[FloatKind]int32{
			NaN: limit - 1, PositiveInfinity: limit - 2, NRes: -limit, Reserved: 1 - limit, NegativeInfinity: 2 - limit,
		}[f.Kind]
	}
	low := -(1 << (exponentBits - 1))
	fits := mantissa >= -limit && mantissa < limit && exponent >= low && exponent < -low
	return uint32(exponent)<<mantissaBits&(1<<(8*wide)-1) | uint32(mantissa)&(1<<mantissaBits-1), fits
}

// reason returns why a special value is none.
func (k FloatKind) reason() Reason {
	switch k {
	case NaN:
		return NotANumber
	case NRes:
		return NotAtResolution
	case PositiveInfinity:
		return AboveAll
	case NegativeInfinity:
		return BelowAll
	}
	return ReservedValue
}
