package consent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Words says a document in plain words, a sentence to a line, for whoever is about to
// sign it: the same document gives the same words everywhere. Of a document that is not
// valid they mean nothing.
func (d Document) Words() []string {
	if d.Status != StatusActive {
		return []string{fmt.Sprintf("You take back what you said to %s in consent %s: from now on it counts for nothing.", d.Grantee, d.ID.Short())}
	}
	purpose, _ := PurposeByCode(d.Purpose)
	names := make([]string, len(d.Metrics))
	for i, key := range d.Metrics {
		m, _ := wearable.ByKey(key)
		names[i] = verifier.NameInText(m)
	}
	verb := "You allow %s, for %s, to use your %s."
	if d.Effect == EffectDeny {
		verb = "You forbid %s, for %s, to use your %s, whatever else you have allowed."
	}
	words := []string{
		fmt.Sprintf(verb, d.Grantee, purpose.Name, strings.Join(names, ", ")),
		fmt.Sprintf("It is about measurements from %s until %s.", hourText(d.DataFrom), hourText(d.DataUntil)),
		fmt.Sprintf("It counts from %s until %s, unless you take it back.", timeText(d.NotBefore), timeText(d.Expires)),
	}
	return append(words, d.operationWords()...)
}

func (d Document) operationWords() []string {
	if d.Effect == EffectDeny {
		return []string{fmt.Sprintf("Forbidden are: %s.", strings.Join(operationNames(d.Operations), "; "))}
	}
	var words []string
	if slices.Contains(d.Operations, OpAggregate) {
		words = append(words, d.statisticsWords()...)
	}
	if slices.Contains(d.Operations, OpPredicate) {
		words = append(words, "It may ask your device to prove claims about you, which shows whether they hold and nothing else:")
		words = append(words, d.Texts()...)
	}
	if slices.Contains(d.Operations, OpShare) {
		words = append(words, "It may pass on to other institutions what was proven about you.")
	}
	return words
}

func (d Document) statisticsWords() []string {
	words := []string{"Your measurements may be part of statistics about many people. Nobody sees yours."}
	switch {
	case d.Exact:
		words = append(words, "These statistics may be exact. Nothing protects what they say about you.")
	case d.CapMicro == 0:
		words = append(words, "No statistic may be asked all the same: the cap is 0.")
	default:
		words = append(words, fmt.Sprintf("Noise hides you in each; all together may tell at most so much about you: rho %g.", float64(d.CapMicro)/1e6))
	}
	if d.BeyondShare {
		words = append(words, "It may use up more than its equal share of what the network allows for you.")
	}
	return words
}

func operationNames(ops []string) []string {
	names := map[string]string{
		OpAggregate: "being part of statistics", OpPredicate: "claims about you", OpShare: "passing on what was proven about you",
	}
	list := make([]string, len(ops))
	for i, op := range ops {
		list[i] = names[op]
	}
	return list
}

func hourText(hour int64) string { return timeText(hour * 3600) }

func timeText(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04 UTC") }
