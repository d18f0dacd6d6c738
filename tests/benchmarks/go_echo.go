// The echo server of compare_network in Go: a goroutine for each connection, on
// one processor. Prints its port. compare_network builds it where Go is
// installed.
package main

import (
	"fmt"
	"net"
	"runtime"
)

// As in coil_echo: 4 KiB until a message fills it, then four times as much.
func echo(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 4<<10)
	for {
		n, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err = connection.Write(buffer[:n]); err != nil {
			return
		}
		if n == len(buffer) && n < 256<<10 {
			buffer = make([]byte, 4*n)
		}
	}
}

func main() {
	runtime.GOMAXPROCS(1)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		connection, err := listener.Accept()
		if err == nil {
			go echo(connection)
		}
	}
}
