// Package wearable turns what body sensors send into the minute grid that the
// rest of Vitalveil seals and proves.
//
// It owns the table of metrics ([Metrics]), exact numbers ([Decimal]), the
// codecs of the Bluetooth characteristics of health sensors ([Decode], [Encode],
// [Decoder], [Characteristics]) and the minute grid ([Accumulator], [Day]). It does no
// input or output of its own and knows no radio.
//
// # Trust
//
// Payloads come from whatever answers on the radio and are treated as hostile:
// every decoder is bounded and never panics. A payload whose measurement cannot be
// read is refused; of one that ends early or has more than it announces, what stands
// whole counts and the rest is a [Drop] with its [Reason]. Nothing here can tell
// whether a sensor measured the right wrist, or any wrist.
//
// # Exactness
//
// No floating point is used between the payload and the code in the grid. A
// value is a decimal numeral, or such a numeral divided by a whole number where
// a unit conversion asks for it (Fahrenheit, kilopascal).
//
// # Promise
//
// Slots, resolutions, ranges and bucket edges of the table are fixed for ever:
// they are part of what is sealed and committed to. Metrics may be added in
// free slots.
package wearable
