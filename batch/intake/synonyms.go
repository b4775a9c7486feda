package intake

// synonyms are the other names under which columns are known, in the form of NormalHeader:
// English, then German, French, Dutch, Swedish, Danish, Norwegian, Spanish, Italian, Polish and
// Finnish as far as they differ. Only names that can mean nothing else are among them; see
// unclear for the others.
var synonyms = map[string][]string{
	"subject_id": {"ticket", "ticketid", "ticketno", "ticketnumber", "requestid", "requestno",
		"requestnumber", "caseid", "caseno", "casenumber", "dsrid", "dsarid", "issuekey",
		"ticketnummer", "ticketnr", "vorgang", "vorgangsnummer", "vorgangsnr", "vorgangsid", "vorgangsschlüssel", "fallnummer", "fallnr",
		"anfragenummer", "anfragenr", "anfrageid", "antragsnummer", "antragsnr", "aktenzeichen",
		"numérodeticket", "numerodeticket", "numéroticket", "numeroticket", "n°ticket", "n°deticket", "numérodedemande", "numerodedemande",
		"n°dedemande", "numérodedossier", "numerodedossier", "n°dedossier",
		"zaaknummer", "aanvraagnummer", "verzoeknummer", "dossiernummer",
		"ärende", "ärendenummer", "ärendenr", "ärendeid", "arendenummer",
		"sagsnummer", "sagsnr", "sagsid", "anmodningsnummer",
		"saksnummer", "saksnr", "saksid", "henvendelsesnummer",
		"númerodeticket", "númerodesolicitud", "numerodesolicitud", "iddesolicitud", "númerodecaso", "numerodecaso", "númerodeexpediente", "numerodeexpediente",
		"numerodelticket", "numerorichiesta", "idrichiesta", "numeropratica",
		"numerzgłoszenia", "numerzgloszenia", "nrzgłoszenia", "nrzgloszenia", "idzgłoszenia", "numerwniosku", "numersprawy",
		"tikettinumero", "tikettinro", "pyyntönumero", "pyynnönnumero", "tapausnumero", "asianumero"},
	"email": {"emailaddress", "mail", "mailaddress", "emailid", "primaryemail",
		"emailadresse", "mailadresse",
		"courriel", "adressemail", "adresseemail", "adressecourriel", "adresseélectronique", "adresseelectronique",
		"emailadres", "mailadres",
		"epost", "epostadress", "mejl", "mejladress", "mailadress", "epostadresse",
		"correo", "correoelectrónico", "correoelectronico",
		"indirizzoemail", "indirizzomail", "postaelettronica",
		"adresemail", "adresmail", "pocztaelektroniczna",
		"sähköposti", "sahkoposti", "sähköpostiosoite", "sahkopostiosoite"},
	"other_email": {"otheremailaddress", "otheremailid", "othermail", "email2", "secondemail", "secondaryemail", "alternateemail", "alternativeemail",
		"mail2", "emailadresse2", "weitereemail", "weitereemailadresse", "zweiteemail", "zweiteemailadresse",
		"courriel2", "autreemail", "autrecourriel", "emailsecondaire",
		"emailadres2", "tweedeemail", "tweedeemailadres", "andereemail",
		"epost2", "annanepost", "andenemail", "annenepost",
		"correo2", "otrocorreo", "correosecundario", "altraemail", "secondaemail", "emailsecondaria",
		"drugiemail", "innyemail", "sähköposti2", "toinensähköposti"},
	"telephone": {"telephonenumber", "tel", "telno", "phone", "phoneno", "phonenumber", "mobile", "mobileno", "mobilenumber", "mobilephone", "cell", "cellphone",
		"telefon", "telefonnummer", "telefonnr", "telnr", "telnummer", "handy", "handynummer", "handynr", "mobil", "mobilnummer", "mobilnr", "mobiltelefon", "rufnummer",
		"téléphone", "tél", "numérodetéléphone", "numerodetelephone", "n°detéléphone", "portable", "téléphoneportable", "numérodeportable", "téléphonemobile",
		"telefoon", "telefoonnummer", "telefoonnr", "mobiel", "mobielnummer", "gsm", "gsmnummer",
		"tlf", "tlfnr", "tlfnummer",
		"teléfono", "telefono", "númerodeteléfono", "numerodetelefono", "móvil", "movil", "teléfonomóvil", "telefonomovil", "celular",
		"numeroditelefono", "cellulare", "numerodicellulare",
		"numertelefonu", "nrtelefonu", "telefonkomórkowy", "telefonkomorkowy", "komórka",
		"puhelin", "puhelinnumero", "puh", "puhnro", "matkapuhelin"},
	"other_telephone": {"othertelephonenumber", "othertel", "otherphone", "otherphonenumber", "telephone2", "phone2", "secondphone", "secondaryphone", "alternatephone", "alternativephone",
		"tel2", "telefon2", "telefonnummer2", "weiteretelefonnummer", "zweitetelefonnummer", "téléphone2", "autretéléphone",
		"telefoon2", "telefoonnummer2", "anderetelefoon", "mobil2", "annantelefon", "teléfono2", "telefono2", "otroteléfono", "altrotelefono",
		"drugitelefon", "puhelin2"},
	"customer_key": {"customerkeys", "visitorid", "visitorids", "visitorkey",
		"kundenschlüssel", "besucherid", "cléclient", "cleclient", "klantsleutel", "bezoekersid", "kundnyckel", "kundenøgle", "kundenøkkel",
		"clavedecliente", "chiavecliente", "kluczklienta", "asiakasavain"},
	"account_number": {"account", "accountno", "accountnr", "lcmkey", "accountnummer"},
	"call_id":        {"anrufid", "idappel", "samtalsid", "opkaldsid", "anropsid", "iddellamada", "idchiamata", "puhelunid"},
	"agent_id":       {"agent"},
	"customer_id":    {"lcmcustomerid"},
	"customer_name": {"name", "fullname", "kundenname", "nomcomplet", "nomduclient", "naam", "klantnaam", "namn", "kundnamn", "navn", "kundenavn",
		"nombrecompleto", "nombredelcliente", "nomecompleto", "nomecliente", "nominativo", "imięinazwisko", "imieinazwisko", "nimi", "asiakkaannimi"},
	"comments": {"comment", "note", "notes", "remark", "remarks", "agentcomments",
		"kommentar", "kommentare", "bemerkung", "bemerkungen", "anmerkung", "anmerkungen",
		"commentaire", "commentaires", "remarque", "remarques", "opmerking", "opmerkingen", "kommentarer", "bemærkning", "bemærkninger",
		"merknad", "merknader", "comentario", "comentarios", "observaciones", "commento", "commenti", "komentarz", "komentarze", "uwagi", "kommentti", "kommentit"},
	"received_at": {"received", "receivedon", "receiveddate", "datereceived", "requestdate", "requestedat", "requestedon",
		"eingang", "eingangam", "eingegangenam", "eingangsdatum", "erhaltenam", "empfangenam", "antragsdatum", "anfragedatum",
		"reçule", "datederéception", "datedereception", "datededemande", "datedelademande",
		"ontvangenop", "ontvangstdatum", "datumontvangst",
		"mottagen", "mottaget", "inkomdatum", "mottagningsdatum", "modtaget", "modtagelsesdato", "mottatt", "mottattdato", "mottaksdato",
		"recibidoel", "fechaderecepción", "fechaderecepcion", "fechadesolicitud", "ricevutoil", "dataricezione", "datadiricezione", "datarichiesta",
		"datawpływu", "datawplywu", "dataotrzymania", "datazgłoszenia", "datazgloszenia", "saapunut", "saapumispäivä", "vastaanotettu"},
	"vendors": {"vendor"},
	"channel": {"requestchannel", "receivedvia", "contactchannel", "kanal", "eingangskanal", "canal", "kanaal", "canale", "kanał", "kanava"},
}

// unclear are headers that may be one of our columns, or may not: they say too little to send
// a request on. A customer's number may be what one vendor knows the person by, or another, or
// none; the date on which a ticket was created is mostly that of its receipt.
var unclear = func() map[string][]string {
	of := map[string][]string{}
	for _, names := range []struct{ columns, headers []string }{
		{[]string{"customer_key", "account_number"}, []string{"customernumber", "customerno", "customernr", "clientnumber", "clientid", "memberid", "membernumber",
			"kundennummer", "kundennr", "kundenid", "kdnr", "kundenkennung", "mitgliedsnummer", "numéroclient", "numeroclient", "n°client", "numérodeclient", "numerodeclient",
			"idclient", "klantnummer", "klantnr", "klantid", "kundnummer", "kundnr", "kundid", "medlemsnummer", "kundenummer", "kundenr", "kundeid",
			"númerodecliente", "numerodecliente", "idcliente", "numerocliente", "codicecliente", "numerklienta", "nrklienta", "idklienta", "asiakasnumero", "asiakasnro", "asiakastunnus"}},
		{[]string{"customer_key"}, []string{"contactid", "contactkey", "kontaktid", "personid", "userid", "useridentifier", "externalid"}},
		{[]string{"account_number"}, []string{"kontonummer", "kontonr", "numérodecompte", "numerodecompte", "rekeningnummer", "númerodecuenta", "numerodecuenta",
			"numerodiconto", "numeroconto", "numerkonta", "nrkonta", "tilinumero"}},
		{[]string{"subject_id"}, []string{"id", "key", "no", "nr", "number", "nummer", "numero", "número", "numéro", "numer", "numero", "reference", "ref", "referenz", "référence",
			"referentie", "referens", "referencia", "riferimento", "case", "request", "issue", "fall", "sag", "sak", "zaak", "demande", "solicitud", "richiesta", "zgłoszenie", "pyyntö"}},
		{[]string{"received_at"}, []string{"date", "datum", "dato", "fecha", "data", "päivämäärä", "created", "createdat", "datecreated", "date/timeopened", "createddate", "createdon", "creationdate", "dateopened", "openeddate",
			"erstellt", "erstelltam", "angelegtam", "créé", "crééle", "datedecréation", "aangemaakt", "aangemaaktop", "skapad", "oprettet", "opprettet", "creado", "creadoel", "creato",
			"datacreazione", "utworzono", "luotu"}},
	} {
		for _, h := range names.headers {
			of[h] = names.columns
		}
	}
	return of
}()
