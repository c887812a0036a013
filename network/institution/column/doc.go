// Package column keeps, of every row that a member has found to be the one that its
// device signed, the part of each metric in a file of its own for each day, so that a
// query reads a ninth of the bytes and in order.
//
// Entry points: Open, Columns.Add for what was checked, Columns.AddTo for a query,
// Want for the rows of a cohort.
//
// Trust: none in the files. They are made of blocks: a header, a key for each row, the
// rows (he.Columns), and a MAC under a key from the member's store. A block that is
// damaged is not used.
//
// Promise: what is not here is read from the blobs, so nothing is lost with a file and
// writes are not synced. Once Drop has returned, no row of a device is here.
package column
