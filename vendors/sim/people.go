package sim

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Person is one generated person: what a subject file says of them, and what the vendors
// hold. Not every vendor knows everybody.
type Person struct {
	SubjectID     string
	Email         string
	OtherEmail    string
	Telephone     string
	CustomerKeys  []string
	AccountNumber string
	CallID        string
	AgentID       string
	Name          string

	Records []Record    // at CustomerGauge, without numbers
	Keys    []VoyadoKey // at Voyado
}

// areaCodes are area codes of the United States. In each of them the numbers 555-0100 to
// 555-0199 are set aside for fiction and documentation, which makes enough distinct
// numbers that reach nobody.
const areaCodes = "202 201 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 220 223 224 225 227 228 229 231 234 " +
	"239 240 248 251 252 253 254 256 260 262 267 269 270 272 276 279 281 301 302 303 304 305 307 308 309 310 312 313 314 " +
	"315 316 317 318 319 320 321 323 325 330 331 332 334 336 337 339 341 346 347 351 352 360 361 364 380 385 386 401 402 " +
	"404 405 406 407 408 409 410 412 413 414 415 417 419 423 424 425 430 432 434 435 440 442 443 445 458 463 469 470 475 " +
	"478 479 480 484 501 502 503 504 505 507 508 509 510 512 513 515 516 517 518 520 530 531 534 539 540 541 551 559 561 " +
	"562 563 564 567 570 571 573 574 575 580 585 586 601 602 603 605 606 607 608 609 610 612 614 615 616 617 618 619 620 " +
	"623 626 628 629 630 631 636 641 646 650 651 657 660 661 662 667 669 678 681 682 689 701 702 703 704 706 707 708 712 " +
	"713 714 715 716 717 718 719 720 724 725 726 727 731 732 734 737 740 743 747 754 757 760 762 763 765 769 770 772 773 " +
	"774 775 779 781 785 786 801 802 803 804 805 806 808 810 812 813 814 815 816 817 818 828 830 831 832 843 845 847 848 " +
	"850 854 856 857 858 859 860 862 863 864 865 870 872 878 901 903 904 906 907 908 909 910 912 913 914 915 916 917 918 " +
	"919 920 925 928 929 930 931 934 936 937 938 940 941 947 949 951 952 954 956 959 970 971 972 973 978 979 980 984 985 989"

var areas = strings.Fields(areaCodes)

// documentationNumber returns the i-th telephone number that reaches nobody, or "" when
// they are used up: beyond some thirty thousand people there are no more distinct ones.
func documentationNumber(i int) string {
	if i/100 >= len(areas) {
		return ""
	}
	return fmt.Sprintf("+1%s55501%02d", areas[i/100], i%100)
}

var (
	firstNames = []string{"Ada", "Ben", "Cleo", "Dan", "Elin", "Finn", "Greta", "Hugo", "Iris", "Jon", "Karin", "Leo", "Maja", "Nils", "Olga", "Per"}
	lastNames  = []string{"Ek", "Lund", "Berg", "Smith", "Rossi", "Novak", "Costa", "Dahl", "Moreau", "Jansen", "Silva", "Kowal", "O'Neil", "Weiss"}
)

// sharesPhone says whether person i uses the telephone of the person before.
func sharesPhone(i int) bool { return i%25 == 24 }

// PersonAt makes person i of a seed. It depends on nothing else, so that a file of any
// length and the simulator that knows the same people can be made apart from each other.
//
// Of each hundred people about ten are unknown to CustomerGauge, ten to Voyado, ten have
// no account number, fifteen have several CustomerGauge records, ten a second email, five
// two customer keys, five a linked key, and four share the telephone of the person before.
func PersonAt(seed uint64, i int) Person {
	rng := rand.New(rand.NewPCG(seed, uint64(i)))
	roll := func(percent int) bool { return rng.IntN(100) < percent }

	p := Person{SubjectID: fmt.Sprintf("REQ-%07d", i), Email: fmt.Sprintf("person-%d@example.com", i)}
	first, last := firstNames[rng.IntN(len(firstNames))], lastNames[rng.IntN(len(lastNames))]
	p.Name = first + " " + last
	p.Telephone = documentationNumber(i)
	if sharesPhone(i) {
		p.Telephone = documentationNumber(i - 1)
	}
	if roll(10) {
		p.OtherEmail = fmt.Sprintf("person-%d@example.org", i)
	}
	p.CustomerKeys = []string{uuid(rng)}
	if roll(5) {
		p.CustomerKeys = append(p.CustomerKeys, uuid(rng))
	}
	if !roll(10) {
		p.AccountNumber = fmt.Sprintf("934|1|%d|0|0|%d|%d", i, rng.IntN(90)+10, rng.IntN(90)+10)
		if roll(30) {
			p.CallID = fmt.Sprintf("%d|1|%d|0|0|1|1", rng.IntN(900)+100, i)
			p.AgentID = fmt.Sprintf("agent%d", rng.IntN(20))
		}
	}

	// People who share a telephone are all known: the second of a pair, and the first.
	paired := sharesPhone(i) || sharesPhone(i+1)
	if paired || !roll(10) {
		n := 1
		if roll(15) {
			n = 2 + rng.IntN(3)
		}
		for k := range n {
			r := Record{FirstName: first, LastName: last, Email: p.Email, Telephone: p.Telephone}
			switch {
			case k > 0 && p.OtherEmail != "":
				r.Email = p.OtherEmail
			case k > 0 && roll(20):
				r.Telephone = ""
			case roll(10): // as people type it; the vendor compares without case
				r.Email = strings.Replace(r.Email, "person", "Person", 1)
			}
			p.Records = append(p.Records, r)
		}
	}
	if !roll(10) {
		for _, key := range p.CustomerKeys {
			k := VoyadoKey{Key: key, Events: 1 + rng.IntN(5)}
			if roll(5) {
				linked := VoyadoKey{Key: uuid(rng), Events: 1}
				k.Linked = []string{linked.Key}
				p.Keys = append(p.Keys, linked)
			}
			p.Keys = append(p.Keys, k)
		}
	}
	return p
}

// Generate adds people 0 to n-1 of a seed to the first account of each kind.
func (s *Seed) Generate(n int, seed uint64) {
	s.complete()
	cg, voy := &s.CustomerGauge[0], &s.Voyado[0]
	for i := range n {
		p := PersonAt(seed, i)
		cg.Records = append(cg.Records, p.Records...)
		voy.Keys = append(voy.Keys, p.Keys...)
	}
	s.complete()
}

// WriteSubjects writes people 0 to n-1 of a seed as an input file for expunge, row by row.
// A zero received leaves received_at empty, which means the time of intake.
func WriteSubjects(w io.Writer, n int, seed uint64, received time.Time) error {
	out := bufio.NewWriterSize(w, 1<<16)
	c := csv.NewWriter(out)
	at := ""
	if !received.IsZero() {
		at = received.UTC().Format(time.RFC3339)
	}
	header := []string{
		"subject_id", "email", "other_email", "telephone", "customer_key", "account_number",
		"call_id", "agent_id", "customer_name", "received_at",
	}
	if err := c.Write(header); err != nil {
		return err
	}
	for i := range n {
		p := PersonAt(seed, i)
		err := c.Write([]string{
			p.SubjectID, p.Email, p.OtherEmail, p.Telephone, strings.Join(p.CustomerKeys, ";"), p.AccountNumber,
			p.CallID, p.AgentID, p.Name, at,
		})
		if err != nil {
			return err
		}
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return err
	}
	return out.Flush()
}

// uuid makes a version 4 UUID.
func uuid(rng *rand.Rand) string {
	hi, lo := rng.Uint64(), rng.Uint64()
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 1<<63
	s := fmt.Sprintf("%016x%016x", hi, lo)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func itoa(n int) string { return strconv.Itoa(n) }
