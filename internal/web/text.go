package web

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Text writes sections for a terminal: without plots, and the first of several verbatim
// blocks; a page has all.
func Text(out io.Writer, sections []Section) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range sections {
		fmt.Fprintf(w, "\n== %s\n", s.Title)
		for _, p := range s.Paragraphs {
			fmt.Fprintln(w, p)
		}
		for _, f := range s.Facts {
			fmt.Fprintf(w, "%s\t%s\n", f.Name, f.Value)
		}
		for _, t := range s.Tables {
			fmt.Fprintln(w, strings.ToUpper(strings.Join(t.Columns, "\t")))
			for _, row := range t.Rows {
				fmt.Fprintln(w, strings.Join(row, "\t"))
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if len(s.Code) > 0 {
			fmt.Fprintf(w, "\n%s\n", s.Code[0])
		}
	}
	fmt.Fprintln(w)
	return w.Flush()
}
