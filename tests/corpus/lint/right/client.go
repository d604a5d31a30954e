package shop

import (
	"crypto/tls"
	"crypto/x509"
)

// InsecureSkipVerify: true would be the end of it.
func config(pool *x509.CertPool) *tls.Config {
	/* MinVersion: tls.VersionTLS10 was here once */
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13, ServerName: "api.internal"}
}

const help = "see https://pkg.go.dev/crypto/tls // not a comment"
