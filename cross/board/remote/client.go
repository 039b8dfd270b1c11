package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// ErrGone is that the line to the board is broken: it has lost its power, or
// its agent has died.
var ErrGone = errors.New("the board is gone")

// A Client is the host's end. Its methods may be called by several goroutines.
type Client struct {
	line io.ReadWriteCloser
	gone chan struct{} // closed when the line is broken
	wg   sync.WaitGroup

	writing sync.Mutex // guards writes to line
	mu      sync.Mutex // guards what is below
	last    int
	waiting map[int]chan Answer
}

// NewClient waits for the board's hello and returns a client of it, or an error
// when ctx is done or the line breaks before. The line is the client's from then
// on. A goroutine reads the answers; it ends with the line.
func NewClient(ctx context.Context, line io.ReadWriteCloser) (*Client, error) {
	c := &Client{line: line, gone: make(chan struct{}), waiting: map[int]chan Answer{}}
	hello := make(chan Answer, 1)
	c.waiting[0] = hello
	c.wg.Go(c.read)
	select {
	case <-hello:
		return c, nil
	case <-c.gone:
		return nil, errors.Join(ErrGone, c.Close())
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), c.Close())
	}
}

func (c *Client) read() {
	defer close(c.gone)
	for in := json.NewDecoder(c.line); ; {
		var a Answer
		if in.Decode(&a) != nil {
			return
		}
		c.mu.Lock()
		to := c.waiting[a.ID]
		delete(c.waiting, a.ID)
		c.mu.Unlock()
		if to != nil {
			to <- a // has room for it
		}
	}
}

// Close breaks the line and waits. It is safe twice.
func (c *Client) Close() error {
	err := c.line.Close()
	c.wg.Wait()
	return err
}

// grace is how much longer we wait than the board has been told to.
const grace = 10 * time.Second

// Do has the board do r, whose ID it chooses, within ctx's deadline. What could
// not be done is an error, a command that failed is not.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	if deadline, ok := ctx.Deadline(); ok && r.Limit == 0 {
		r.Limit = max(time.Until(deadline), time.Millisecond)
	}
	to := make(chan Answer, 1)
	c.mu.Lock()
	c.last++
	r.ID = c.last
	c.waiting[r.ID] = to
	c.mu.Unlock()
	line, err := json.Marshal(r)
	if err != nil {
		return Answer{}, err
	}
	c.writing.Lock()
	_, err = c.line.Write(append(line, '\n'))
	c.writing.Unlock()
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %v", ErrGone, err)
	}
	var late <-chan time.Time
	if r.Limit > 0 {
		t := time.NewTimer(r.Limit + grace)
		defer t.Stop()
		late = t.C
	}
	select {
	case a := <-to:
		if a.Err != "" {
			return a, errors.New(a.Err)
		}
		return a, nil
	case <-c.gone:
		return Answer{}, ErrGone
	case <-late:
		return Answer{}, fmt.Errorf("no answer from the board in %v", r.Limit+grace)
	}
}
