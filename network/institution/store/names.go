package store

import (
	"strconv"

	"github.com/vitalveil/vitalveil/internal/record"
)

// What the state holds, by name. Names are on the ledger anyway.
const (
	Owner     = "owner"       // member, epoch and network that the state is of, in JSON
	Head      = "ledger/head" // newest block that was read: number and hash, in JSON
	ColumnKey = "columnkey"   // under which blocks of columns are authenticated

	Seeds       = "seed/"
	PieceKeys   = "piecekey/"
	Details     = "details/" // patients' details keys
	KeySums     = "keysum/"
	Checkpoints = "checkpoint/" // the key that the checkpoint of this name is sealed under
)

// Seed is of a piece of a device's secret.
func Seed(device record.ID, piece int) string {
	return Seeds + device.String() + "/" + strconv.Itoa(piece)
}

// Erased is a note that a device is erased: the number of its seeds that were stored
// here and are deleted. It is written together with the deletion, so that a crash
// after it does not change what is reported.
func Erased(device record.ID) string { return "erased/" + device.String() }

// DetailsKey is there from when a patient enrols until the erasure.
func DetailsKey(patient record.ID) string { return Details + patient.String() }

// Gone is a note that a patient's details key is in no file any more.
func Gone(patient record.ID) string { return "gone/" + patient.String() }

// PieceKey is the PRF key of a piece. Every round has its own: a key that was found
// faulty is not used again, not even by those who could open it.
func PieceKey(piece, round int) string {
	name := PieceKeys + strconv.Itoa(piece)
	if round > 0 {
		name += "." + strconv.Itoa(round)
	}
	return name
}

// KeySum is a sum of a piece over the devices of a scope.
func KeySum(piece int, scope record.ID) string {
	return KeySums + strconv.Itoa(piece) + "/" + scope.String()
}

// Answer is the shares of a query that have left, byte for byte.
func Answer(query string, attempt int) string { return "answer/" + query + "/" + strconv.Itoa(attempt) }

// Salt is what the hash of a query's release covers beside the release.
func Salt(query string) string { return "salt/" + query }

// Probed is the note of which devices of a part of a failed query's cohort this member
// has answered for.
func Probed(query string, part int) string { return "probed/" + query + "/" + strconv.Itoa(part) }

// Probes counts the devices that this member has answered for in queries of an asker.
func Probes(asker string) string { return "probes/" + asker }

// Searched is the note that a failed query's devices were all looked at.
func Searched(query string) string { return "searched/" + query }

// PosedKeys are what is kept under idempotency keys.
const PosedKeys = "posed/"

// Posed is the question that was posed under a key, and its query.
func Posed(key record.ID) string { return PosedKeys + key.String() }

// Opened is the answer to a query of this member's.
func Opened(query string) string { return "opened/" + query }
