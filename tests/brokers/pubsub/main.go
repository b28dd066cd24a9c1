// Serves pstest, the Pub/Sub of Google's Go client for tests, on 127.0.0.1.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"cloud.google.com/go/pubsub/v2/pstest"
)

func main() {
	port := flag.Int("port", 8085, "port on 127.0.0.1")
	flag.Parse()
	server := pstest.NewServerWithPort(*port)
	fmt.Println("listening", server.Addr)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
	server.Close()
}
