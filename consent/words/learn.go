package words

import (
	"fmt"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/claim"
)

// learnable says what the answers under a permission could tell at most, with an example
// of each search by halves that it leaves open.
func learnable(d consent.Document) []string {
	var list []string
	for _, t := range d.Predicates {
		m, _ := wearable.ByKey(t.Metric)
		for _, s := range t.Searches() {
			list = append(list, search(d, t, s, m))
		}
	}
	return append(list, fmt.Sprintf("Each answer is yes or silence: all together tell at most %d bits about you.", d.Bits()))
}

func search(d consent.Document, t consent.Terms, s consent.Search, m wearable.Metric) string {
	middle := s.Cuts[len(s.Cuts)/2]
	what := map[string]string{
		"range":    fmt.Sprintf("a value that %s kept to for %d minutes", claim.NameInText(m), max(1, middle.K)),
		"count":    fmt.Sprintf("the number of minutes in which %s was in the range", claim.NameInText(m)),
		"outside":  fmt.Sprintf("the number of minutes in which %s was out of the range", claim.NameInText(m)),
		"measured": fmt.Sprintf("the number of minutes in which %s was measured", claim.NameInText(m)),
		"days":     "the number of days on which all that is claimed of one holds",
		"halves":   fmt.Sprintf("the number of minutes in which %s was measured in the half that has fewer", claim.NameInText(m)),
		"mean":     "the mean of " + claim.NameInText(m),
		"trend":    "the trend of " + claim.NameInText(m),
	}[s.About]
	values := len(s.Cuts) + 1
	text := fmt.Sprintf("By halves, %d of them find %s among %d values", s.Questions(), what, values)
	if s.Questions() > d.Claims {
		text = fmt.Sprintf("By halves, all %d of them narrow %s down to %d of %d values", d.Claims, what, s.Left(d.Claims), values)
	}
	first := claim.Claim{Metric: m, Days: int(t.Days), Anytime: true, Bounds: middle}
	return text + "; the first would be that " + first.Text(claim.English) + "."
}
