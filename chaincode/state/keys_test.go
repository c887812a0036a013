package state_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/record"
)

func TestKeysAreReadBack(t *testing.T) {
	a, b := record.RandomID(), record.RandomID()
	pointer := record.Pointer{Device: a, Kind: record.KindDay, Index: -12, Correction: 3}
	for _, c := range []struct {
		key  string
		kind state.Kind
		want []string
	}{
		{state.GenesisKey(), state.KindGenesis, nil},
		{state.LayoutKey(), state.KindLayout, nil},
		{state.TickKey("A"), state.KindTick, []string{"A"}},
		{state.PatientKey(a), state.KindPatient, []string{a.String()}},
		{state.PersonKey(a), state.KindPerson, []string{a.String()}},
		{state.KeysKey(a, 7), state.KindKeys, []string{a.String(), "7"}},
		{state.RecoveryKey(a, b), state.KindRecovery, []string{a.String(), b.String()}},
		{state.DeviceKey(a), state.KindDevice, []string{a.String()}},
		{state.SeedHashKey(a), state.KindSeedHash, []string{a.String()}},
		{state.SeedBlobKey(a), state.KindSeedBlob, []string{a.String()}},
		{state.DesignationKey(a), state.KindDesignation, []string{a.String()}},
		{state.AckKey(a, "A"), state.KindAck, []string{a.String(), "A"}},
		{state.PieceKeyKey(0, 2), state.KindPieceKey, []string{"2"}},
		{state.PieceKeyKey(1, 2), state.KindPieceKey, []string{"1.2"}},
		{state.DeviceVoteKey(a, "A"), state.KindDeviceVote, []string{a.String(), "A"}},
		{
			state.DeviceFlagKey(record.DeviceFlag{Flag: record.FlagDevice{Device: a, Kind: "proof"}, Member: "A", Day: -3}),
			state.KindDeviceFlag,
			[]string{a.String(), "A", "proof", "-3"},
		},
		{state.RosterKey(), state.KindRoster, nil},
		{state.EpochKey(3), state.KindEpoch, []string{"3"}},
		{state.EpochVoteKey(3, "A"), state.KindEpochVote, []string{"3", "A"}},
		{state.EpochEndKey(3, "A"), state.KindEpochEnd, []string{"3", "A"}},
		{state.ClockKey(), state.KindClock, nil},
		{state.ClockVoteKey("A"), state.KindClockVote, []string{"A"}},
		{state.ConsentKey(a), state.KindConsent, []string{a.String()}},
		{state.ConsentDetailsKey(a, 7), state.KindConsentDetails, []string{a.String(), "7"}},
		{state.ErasureKey(a), state.KindErasure, []string{a.String()}},
		{state.ErasedKey(a, 2, "A"), state.KindErased, []string{a.String(), "2", "A"}},
		{state.ConsentOfKey(a, b), state.KindConsentOf, []string{a.String(), b.String()}},
		{state.PointerKey(pointer), state.KindPointer, []string{a.String(), "day", "-12", "3"}},
		{state.BatchKey(a), state.KindBatch, []string{a.String()}},
		{state.AvailableKey(a, "A"), state.KindAvailable, []string{a.String(), "A"}},
		{state.StudyKey("A", "s"), state.KindStudy, []string{"A", "s"}},
		{state.QueryKey("q"), state.KindQuery, []string{"q"}},
		{state.CohortKey("q", 1, "A"), state.KindCohort, []string{"q", "1", "A"}},
		{state.AsksKey("A"), state.KindAsks, []string{"A"}},
		{state.AbandonKey("q", "A"), state.KindAbandon, []string{"q", "A"}},
		{state.PredicateKey("p"), state.KindPredicate, []string{"p"}},
		{state.PendingKey(a, "p"), state.KindPending, []string{a.String(), "p"}},
		{state.AskedKey(a), state.KindAsked, []string{a.String()}},
		{state.QuestionKey(a, 7), state.KindQuestion, []string{a.String(), "7"}},
	} {
		kind, attrs, err := state.ParseKey(c.key)
		if err != nil || kind != c.kind || !slices.Equal(attrs, c.want) {
			t.Errorf("%q is %s %q, %v", c.key, kind, attrs, err)
		}
	}
	if back, err := state.ParsePointerKey(state.PointerKey(pointer)); err != nil || back != pointer {
		t.Errorf("pointer came back as %+v, %v", back, err)
	}
	for _, bad := range []string{
		"", "x", "\x00", "\x00\x00", "\x00genesis", "genesis\x00", "\x00genesis\x00x\x00", "\x00tick\x00\x00", "\x00other\x00x\x00",
		state.PatientKey(a) + "\x00", "\x00tick\x00" + strings.Repeat("A", 2000) + "\x00",
	} {
		if _, _, err := state.ParseKey(bad); err == nil {
			t.Errorf("%q was read as a key", bad)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(state.GenesisKey())
	f.Add(state.PointerKey(record.Pointer{Kind: "row"}))
	f.Add(state.StudyKey("A", "s"))
	f.Fuzz(func(t *testing.T, key string) {
		kind, attrs, err := state.ParseKey(key)
		if err != nil {
			return
		}
		if again := "\x00" + string(kind) + "\x00" + strings.Join(append(attrs, ""), "\x00"); again != key {
			t.Fatalf("%q was read as %q", key, again)
		}
		if p, err := state.ParsePointerKey(key); err == nil && state.PointerKey(p) != key {
			t.Fatalf("%q is not the key of %+v", key, p)
		}
	})
}

func TestADeviceIsDesignatedFromItsDayOn(t *testing.T) {
	a, b, c := record.RandomID(), record.RandomID(), record.RandomID()
	list := []state.Designation{
		{Device: a, FromDay: 10, Metrics: []string{"heart_rate", "spo2"}},
		{Device: b, FromDay: 12, Metrics: []string{"heart_rate"}},
		{Device: c, FromDay: 12, Metrics: []string{"heart_rate"}},
	}
	for _, x := range []struct {
		metric string
		day    int64
		want   record.ID
	}{
		{"heart_rate", 9, record.ID{}},
		{"heart_rate", 10, a},
		{"heart_rate", 11, a},
		{"heart_rate", 12, c},
		{"heart_rate", 99, c},
		{"spo2", 99, a},
		{"glucose", 99, record.ID{}},
	} {
		got, ok := state.Designated(list, x.metric, x.day)
		if got != x.want || ok == x.want.IsZero() {
			t.Errorf("%s on day %d: %s, want %s", x.metric, x.day, got.Short(), x.want.Short())
		}
	}
}

// Whatever is enrolled later, who was designated for a day that has begun stays.
func TestEnrollingLaterNeverChangesADayThatHasBegun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []state.Designation
		for i := range rapid.IntRange(1, 6).Draw(t, "devices") {
			list = append(list, state.Designation{
				Device: record.RandomID(), Metrics: []string{"spo2"}, FromDay: int64(rapid.IntRange(0, 9).Draw(t, "from")),
			})
			today := int64(rapid.IntRange(0, 9).Draw(t, "today"))
			before, had := state.Designated(list[:i], "spo2", today)
			list[i].FromDay = max(list[i].FromDay, today+1)
			if after, has := state.Designated(list, "spo2", today); after != before || has != had {
				t.Fatal("today's device changed")
			}
		}
	})
}

// The vector is that of the did:key method's P-256 test vectors, which name the
// key by its did.
func TestDIDKey(t *testing.T) {
	key := make([]byte, 33)
	key[0] = 2
	if did := state.DIDKey(key); !strings.HasPrefix(did, "did:key:zDn") {
		t.Errorf("a P-256 key is %s, they begin with zDn", did)
	}
	decoded := decode58(t, strings.TrimPrefix(state.DIDKey(key), "did:key:z"))
	if string(decoded) != "\x80\x24"+string(key) {
		t.Errorf("the did holds %x", decoded)
	}
}

// decode58 is base58btc, the other way around.
func decode58(t *testing.T, s string) []byte {
	t.Helper()
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	var number []byte // least significant first
	for _, r := range s {
		carry := strings.IndexRune(alphabet, r)
		if carry < 0 {
			t.Fatalf("%q is not base58", s)
		}
		for i := range number {
			carry += int(number[i]) * 58
			number[i] = byte(carry)
			carry >>= 8
		}
		for ; carry > 0; carry >>= 8 {
			number = append(number, byte(carry))
		}
	}
	slices.Reverse(number)
	return number
}
