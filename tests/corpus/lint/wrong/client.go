package shop

import "crypto/tls"

var config = &tls.Config{
	InsecureSkipVerify: true,
	MinVersion:         tls.VersionTLS10,
	CipherSuites:       []uint16{tls.TLS_RSA_WITH_RC4_128_SHA},
	KeyLogWriter:       file,
}

var connection, _ = grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))

const queue = "amqp://guest:hunter2@queue.internal:5672/"
