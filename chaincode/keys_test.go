package chaincode_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/internal/record"
)

func TestKeysAreReadBack(t *testing.T) {
	a, b := record.RandomID(), record.RandomID()
	pointer := record.Pointer{Device: a, Kind: record.KindDay, Index: -12, Correction: 3}
	for _, c := range []struct {
		key  string
		kind chaincode.Kind
		want []string
	}{
		{chaincode.GenesisKey(), chaincode.KindGenesis, nil},
		{chaincode.LayoutKey(), chaincode.KindLayout, nil},
		{chaincode.TickKey("A"), chaincode.KindTick, []string{"A"}},
		{chaincode.PatientKey(a), chaincode.KindPatient, []string{a.String()}},
		{chaincode.PersonKey(a), chaincode.KindPerson, []string{a.String()}},
		{chaincode.KeysKey(a, 7), chaincode.KindKeys, []string{a.String(), "7"}},
		{chaincode.RecoveryKey(a, b), chaincode.KindRecovery, []string{a.String(), b.String()}},
		{chaincode.DeviceKey(a), chaincode.KindDevice, []string{a.String()}},
		{chaincode.SeedHashKey(a), chaincode.KindSeedHash, []string{a.String()}},
		{chaincode.SeedBlobKey(a), chaincode.KindSeedBlob, []string{a.String()}},
		{chaincode.DesignationKey(a), chaincode.KindDesignation, []string{a.String()}},
		{chaincode.AckKey(a, "A"), chaincode.KindAck, []string{a.String(), "A"}},
		{chaincode.PieceKeyKey(0, 2), chaincode.KindPieceKey, []string{"2"}},
		{chaincode.PieceKeyKey(1, 2), chaincode.KindPieceKey, []string{"1.2"}},
		{chaincode.DeviceVoteKey(a, "A"), chaincode.KindDeviceVote, []string{a.String(), "A"}},
		{
			chaincode.DeviceFlagKey(record.DeviceFlag{Flag: record.FlagDevice{Device: a, Kind: "proof"}, Member: "A", Day: -3}),
			chaincode.KindDeviceFlag,
			[]string{a.String(), "A", "proof", "-3"},
		},
		{chaincode.RosterKey(), chaincode.KindRoster, nil},
		{chaincode.EpochKey(3), chaincode.KindEpoch, []string{"3"}},
		{chaincode.EpochVoteKey(3, "A"), chaincode.KindEpochVote, []string{"3", "A"}},
		{chaincode.EpochEndKey(3, "A"), chaincode.KindEpochEnd, []string{"3", "A"}},
		{chaincode.ClockKey(), chaincode.KindClock, nil},
		{chaincode.ClockVoteKey("A"), chaincode.KindClockVote, []string{"A"}},
		{chaincode.ConsentKey(a), chaincode.KindConsent, []string{a.String()}},
		{chaincode.ConsentDetailsKey(a, 7), chaincode.KindConsentDetails, []string{a.String(), "7"}},
		{chaincode.ErasureKey(a), chaincode.KindErasure, []string{a.String()}},
		{chaincode.ErasedKey(a, 2, "A"), chaincode.KindErased, []string{a.String(), "2", "A"}},
		{chaincode.ConsentOfKey(a, b), chaincode.KindConsentOf, []string{a.String(), b.String()}},
		{chaincode.PointerKey(pointer), chaincode.KindPointer, []string{a.String(), "day", "-12", "3"}},
		{chaincode.BatchKey(a), chaincode.KindBatch, []string{a.String()}},
		{chaincode.AvailableKey(a, "A"), chaincode.KindAvailable, []string{a.String(), "A"}},
		{chaincode.StudyKey("A", "s"), chaincode.KindStudy, []string{"A", "s"}},
		{chaincode.QueryKey("q"), chaincode.KindQuery, []string{"q"}},
		{chaincode.CohortKey("q", 1, "A"), chaincode.KindCohort, []string{"q", "1", "A"}},
		{chaincode.AsksKey("A"), chaincode.KindAsks, []string{"A"}},
		{chaincode.AbandonKey("q", "A"), chaincode.KindAbandon, []string{"q", "A"}},
		{chaincode.PredicateKey("p"), chaincode.KindPredicate, []string{"p"}},
		{chaincode.PendingKey(a, "p"), chaincode.KindPending, []string{a.String(), "p"}},
		{chaincode.AskedKey(a), chaincode.KindAsked, []string{a.String()}},
		{chaincode.QuestionKey(a, 7), chaincode.KindQuestion, []string{a.String(), "7"}},
	} {
		kind, attrs, err := chaincode.ParseKey(c.key)
		if err != nil || kind != c.kind || !slices.Equal(attrs, c.want) {
			t.Errorf("%q is %s %q, %v", c.key, kind, attrs, err)
		}
	}
	if back, err := chaincode.ParsePointerKey(chaincode.PointerKey(pointer)); err != nil || back != pointer {
		t.Errorf("pointer came back as %+v, %v", back, err)
	}
	for _, bad := range []string{
		"", "x", "\x00", "\x00\x00", "\x00genesis", "genesis\x00", "\x00genesis\x00x\x00", "\x00tick\x00\x00", "\x00other\x00x\x00",
		chaincode.PatientKey(a) + "\x00", "\x00tick\x00" + strings.Repeat("A", 2000) + "\x00",
	} {
		if _, _, err := chaincode.ParseKey(bad); err == nil {
			t.Errorf("%q was read as a key", bad)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(chaincode.GenesisKey())
	f.Add(chaincode.PointerKey(record.Pointer{Kind: "row"}))
	f.Add(chaincode.StudyKey("A", "s"))
	f.Fuzz(func(t *testing.T, key string) {
		kind, attrs, err := chaincode.ParseKey(key)
		if err != nil {
			return
		}
		if again := "\x00" + string(kind) + "\x00" + strings.Join(append(attrs, ""), "\x00"); again != key {
			t.Fatalf("%q was read as %q", key, again)
		}
		if p, err := chaincode.ParsePointerKey(key); err == nil && chaincode.PointerKey(p) != key {
			t.Fatalf("%q is not the key of %+v", key, p)
		}
	})
}

func TestADeviceIsDesignatedFromItsDayOn(t *testing.T) {
	a, b, c := record.RandomID(), record.RandomID(), record.RandomID()
	list := []chaincode.Designation{
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
		got, ok := chaincode.Designated(list, x.metric, x.day)
		if got != x.want || ok == x.want.IsZero() {
			t.Errorf("%s on day %d: %s, want %s", x.metric, x.day, got.Short(), x.want.Short())
		}
	}
}

// Whatever is enrolled later, who was designated for a day that has begun stays.
func TestEnrollingLaterNeverChangesADayThatHasBegun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []chaincode.Designation
		for i := range rapid.IntRange(1, 6).Draw(t, "devices") {
			list = append(list, chaincode.Designation{
				Device: record.RandomID(), Metrics: []string{"spo2"}, FromDay: int64(rapid.IntRange(0, 9).Draw(t, "from")),
			})
			today := int64(rapid.IntRange(0, 9).Draw(t, "today"))
			before, had := chaincode.Designated(list[:i], "spo2", today)
			list[i].FromDay = max(list[i].FromDay, today+1)
			if after, has := chaincode.Designated(list, "spo2", today); after != before || has != had {
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
	if did := chaincode.DIDKey(key); !strings.HasPrefix(did, "did:key:zDn") {
		t.Errorf("a P-256 key is %s, they begin with zDn", did)
	}
	decoded := decode58(t, strings.TrimPrefix(chaincode.DIDKey(key), "did:key:z"))
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
