package index

// name returns one copy of a text that very many records have in common, such as
// the name of a member or of a metric.
func (ix *Index) name(s string) string {
	if known, ok := ix.names[s]; ok {
		return known
	}
	ix.names[s] = s
	return s
}

// namesIn puts common texts in the place of the list's own.
func (ix *Index) namesIn(list []string) {
	for i, s := range list {
		list[i] = ix.name(s)
	}
}
