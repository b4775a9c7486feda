package main

import (
	"context"
	"io"
	"sync"
)

// input is standard input, of which a read ends when ctx does. A read of a terminal or of a
// pipe that says nothing cannot be cut short: it is left behind, and ends with the process.
func (a *app) input(ctx context.Context) io.Reader { return &input{ctx: ctx, from: a.stdin} }

type input struct {
	ctx  context.Context
	from io.Reader
	once sync.Once
	r    *io.PipeReader
}

func (in *input) Read(p []byte) (int, error) {
	in.once.Do(func() {
		r, w := io.Pipe()
		in.r = r
		context.AfterFunc(in.ctx, func() { w.CloseWithError(context.Cause(in.ctx)) })
		go func() {
			_, err := io.Copy(w, in.from)
			w.CloseWithError(err)
		}()
	})
	return in.r.Read(p)
}
