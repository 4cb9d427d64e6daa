// A MongoDB server for the tests: FerretDB v1 over SQLite files. `npm run build:ferretdb` builds it.
package main

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	address := flag.String("address", "127.0.0.1:27017", "where to listen")
	folder := flag.String("folder", ".", "where the data is kept")
	certificate := flag.String("certificate", "", "PEM file of the server's certificate: listens with TLS")
	key := flag.String("key", "", "PEM file of the certificate's private key")
	untilStdinEnds := flag.Bool("until-stdin-ends", false, "end at once when stdin does: no server outlives its starter")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *untilStdinEnds {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}

	listener := ferretdb.ListenerConfig{TCP: *address}
	if *certificate != "" {
		listener = ferretdb.ListenerConfig{TLS: *address, TLSCertFile: *certificate, TLSKeyFile: *key}
	}
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  listener,
		Handler:   "sqlite",
		SQLiteURL: "file:" + *folder + "/",
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err == nil {
		err = server.Run(ctx)
	}
	if err != nil {
		slog.Error("FerretDB ended", "error", err)
		os.Exit(1)
	}
}
