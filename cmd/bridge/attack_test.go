package bridge

import (
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/zk/claim"
)

// A gateway shows a question beside another, of an asker whose name writes over what the
// patient reads of that one.
func TestAttackAnAskerWhoseNameMovesTheCursor(t *testing.T) {
	const name = "HospitalA\x1b[2A\x1b[2K\r\u202e\n"
	a := asked{
		Device: strings.Repeat("ab", 32), Question: strings.Repeat("cd", 32), Asker: name + strings.Repeat("x", 1<<16), Purpose: name,
		Text: claim.Sentence(record.AskPredicate{Metric: strings.Repeat(name, 1<<10), Class: name}, claim.English), Standing: "waits",
	}
	shown := a.String()
	if strings.ContainsAny(shown, "\x1b\r\u202e") || strings.Count(shown, "\n") != 2 || len(shown) > 1<<10 {
		t.Errorf("a terminal gets %q", shown)
	}
}
