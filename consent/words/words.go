// Package words says in plain words what a consent permits, for whoever is about to sign
// it or has to live by it.
//
// Entry points: Of says a whole document, Claims what may be claimed under it.
//
// Promise: the same document gives the same words everywhere, and what a permission
// gives up beyond the usual is never left unsaid. Of a document that is not valid the
// words mean nothing. The contracts link nothing of this.
package words

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/claim"
)

// Of says a document in words, a sentence to a line.
func Of(d consent.Document) []string {
	if d.Status != consent.StatusActive {
		return []string{fmt.Sprintf("You take back what you said to %s in consent %s: from now on it counts for nothing.", d.Grantee, d.ID.Short())}
	}
	purpose, _ := consent.PurposeByCode(d.Purpose)
	names := make([]string, len(d.Metrics))
	for i, key := range d.Metrics {
		m, _ := wearable.ByKey(key)
		names[i] = claim.NameInText(m)
	}
	verb := "You allow %s, for %s, to use your %s."
	if d.Effect == consent.EffectDeny {
		verb = "You forbid %s, for %s, to use your %s, whatever else you have allowed."
	}
	sentences := []string{
		fmt.Sprintf(verb, d.Grantee, purpose.Name, strings.Join(names, ", ")),
		fmt.Sprintf("It is about measurements from %s until %s.", hourText(d.DataFrom), hourText(d.DataUntil)),
		fmt.Sprintf("It counts from %s until %s, unless you take it back.", timeText(d.NotBefore), timeText(d.Expires)),
	}
	return append(sentences, operations(d)...)
}

func operations(d consent.Document) []string {
	if d.Effect == consent.EffectDeny {
		return []string{fmt.Sprintf("Forbidden are: %s.", strings.Join(operationNames(d.Operations), "; "))}
	}
	var words []string
	if slices.Contains(d.Operations, consent.OpAggregate) {
		words = append(words, statistics(d)...)
	}
	if slices.Contains(d.Operations, consent.OpPredicate) {
		words = append(words, "It may ask your device to prove claims about you, which shows whether they hold and nothing else:")
		words = append(words, Claims(d)...)
	}
	if slices.Contains(d.Operations, consent.OpShare) {
		words = append(words, "It may pass on to other institutions what was proven about you.")
	}
	return words
}

// guess says in one number what all statistics together may tell.
func guess(rhoMicro uint64) string {
	often := fmt.Sprintf("right at most %.0f times in 100", math.Ceil(100*privacy.GuessRight(rhoMicro)))
	if privacy.GuessRight(rhoMicro) > 0.99 {
		often = "right nearly every time"
	}
	return fmt.Sprintf("Noise hides you in each. After all of them, somebody who knows everybody else's values and guesses which of two was yours "+
		"may be %s; without them it is 50 times (rho %g).", often, float64(rhoMicro)/1e6)
}

func statistics(d consent.Document) []string {
	words := []string{"Your measurements may be part of statistics about many people. Nobody sees yours."}
	switch {
	case d.Exact:
		words = append(words, "These statistics may be exact. Nothing protects what they say about you.")
	case d.CapMicro == 0:
		words = append(words, "No statistic may be asked all the same: the cap is 0.")
	default:
		words = append(words, guess(d.CapMicro))
	}
	if d.BeyondShare {
		words = append(words, "It may use up more than its equal share of what the network allows for you.")
	}
	return words
}

func operationNames(ops []string) []string {
	names := map[string]string{
		consent.OpAggregate: "being part of statistics", consent.OpPredicate: "claims about you", consent.OpShare: "passing on what was proven about you",
	}
	list := make([]string, len(ops))
	for i, op := range ops {
		list[i] = names[op]
	}
	return list
}

func hourText(hour int64) string { return timeText(hour * 3600) }

func timeText(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04 UTC") }
