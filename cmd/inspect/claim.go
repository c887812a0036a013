package inspect

import (
	"fmt"
	"strings"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/zk/claim"
)

// sayClaim reads a claim.
type sayClaim struct {
	Claim    string `arg:"" optional:"" help:"The claim. About no given day it is one that a consent lists: \"on a day, ...\"."`
	Language string `help:"The language of the claim: en or de." default:"en"`
	JSON     bool   `name:"json" help:"Print what is read as a consent lists it."`
}

// Run says the claim in each language, or lists the forms of one.
func (c sayClaim) Run() error {
	l, err := claim.ByTag(c.Language)
	if err != nil {
		return err
	}
	if c.Claim == "" {
		return listForms(l)
	}
	said, err := l.Parse(c.Claim)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(consent.Terms{Metric: said.Metric.Key, Days: uint32(said.Days), Claim: &said.Bounds})
	}
	for _, l := range claim.Languages() {
		fmt.Println(said.Text(l))
	}
	return nil
}

// listForms lists what each part of a sentence can be.
func listForms(l *claim.Language) error {
	for _, part := range l.Forms() {
		fmt.Printf("%s\n", strings.Join(part, "\n  or  "))
	}
	return nil
}
