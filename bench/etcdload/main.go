// Load on etcd for bench/run: clients that compare a key's revision and set it.
//
//	etcdload -endpoints a,b,c -clients N -keys K -seconds S -warmup W -out FILE
//	etcdload -endpoints a,b,c -leader          prints the number of the leader, from 0
//
// Every client has a connection of its own to one endpoint (dealt in turn) and
// one request under way.  What every client knows of the keys' revisions is
// shared, so that with many keys a comparison fails rarely; one that fails is
// counted apart.  FILE gets one line per successful operation of the measured
// time: its latency in microseconds.  Prints "done <seconds> <operations> <failed>".
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.uber.org/zap"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcdload:", err)
		os.Exit(1)
	}
}

func connect(endpoint string) *clientv3.Client {
	quiet := zap.NewProductionConfig()
	quiet.Level = zap.NewAtomicLevelAt(zap.FatalLevel)
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second, LogConfig: &quiet})
	must(err)
	return c
}

const value = "0123456789abcdef"

func name(i int) string { return fmt.Sprintf("bench/%07d", i) }

func printLeader(endpoints []string) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for i, e := range endpoints {
			c := connect(e)
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			status, err := c.Status(ctx, e)
			cancel()
			c.Close()
			if err == nil && status.Leader != 0 && status.Leader == status.Header.MemberId {
				fmt.Println(i)
				return
			}
		}
	}
	must(fmt.Errorf("no leader"))
}

// Make the keys that are missing, and learn the revision of each.
func prepare(c *clientv3.Client, keys int) []int64 {
	ctx := context.Background()
	count, err := c.Get(ctx, "bench/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	must(err)
	if int(count.Count) < keys {
		for i := 0; i < keys; i += 100 {
			var puts []clientv3.Op
			for j := i; j < keys && j < i+100; j++ {
				puts = append(puts, clientv3.OpPut(name(j), value))
			}
			_, err = c.Txn(ctx).Then(puts...).Commit()
			must(err)
		}
	}
	all, err := c.Get(ctx, "bench/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	must(err)
	revisions := make([]int64, keys)
	for _, kv := range all.Kvs {
		var i int
		if _, err := fmt.Sscanf(string(kv.Key), "bench/%d", &i); err == nil && i < keys {
			revisions[i] = kv.ModRevision
		}
	}
	return revisions
}

func main() {
	endpointList := flag.String("endpoints", "", "")
	leader := flag.Bool("leader", false, "")
	clients := flag.Int("clients", 1, "")
	keys := flag.Int("keys", 10000, "")
	seconds := flag.Float64("seconds", 10, "")
	warmup := flag.Float64("warmup", 2, "")
	out := flag.String("out", "", "")
	flag.Parse()
	endpoints := strings.Split(*endpointList, ",")
	if *leader {
		printLeader(endpoints)
		return
	}

	ctx := context.Background()
	first := connect(endpoints[0])
	revisions := prepare(first, *keys)
	first.Close()

	const (
		warming = iota
		measuring
		ending
	)
	var phase, failed int64
	latencies := make([][]int64, *clients)
	var ready, all sync.WaitGroup
	for w := 0; w < *clients; w++ {
		ready.Add(1)
		all.Add(1)
		go func(w int) {
			defer all.Done()
			c := connect(endpoints[w%len(endpoints)])
			defer c.Close()
			random := rand.New(rand.NewSource(time.Now().UnixNano() + int64(w)))
			ready.Done()
			for {
				i := random.Intn(*keys)
				k := name(i)
				known := atomic.LoadInt64(&revisions[i])
				before := atomic.LoadInt64(&phase)
				started := time.Now()
				r, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(k), "=", known)).
					Then(clientv3.OpPut(k, value)).
					Else(clientv3.OpGet(k, clientv3.WithKeysOnly())).Commit()
				must(err)
				took := time.Since(started)
				now := r.Header.Revision
				if !r.Succeeded {
					now = r.Responses[0].GetResponseRange().Kvs[0].ModRevision
				}
				for old := atomic.LoadInt64(&revisions[i]); old < now; old = atomic.LoadInt64(&revisions[i]) {
					atomic.CompareAndSwapInt64(&revisions[i], old, now)
				}
				switch after := atomic.LoadInt64(&phase); {
				case after == ending:
					return
				case before == measuring && r.Succeeded:
					latencies[w] = append(latencies[w], took.Microseconds())
				case before == measuring:
					atomic.AddInt64(&failed, 1)
				}
			}
		}(w)
	}
	ready.Wait()
	time.Sleep(time.Duration(*warmup * float64(time.Second)))
	atomic.StoreInt64(&phase, measuring)
	started := time.Now()
	time.Sleep(time.Duration(*seconds * float64(time.Second)))
	atomic.StoreInt64(&phase, ending)
	measured := time.Since(started).Seconds()
	all.Wait()

	f, err := os.Create(*out)
	must(err)
	w := bufio.NewWriter(f)
	n := 0
	for _, l := range latencies {
		n += len(l)
		for _, us := range l {
			fmt.Fprintln(w, us)
		}
	}
	must(w.Flush())
	must(f.Close())
	fmt.Printf("done %.3f %d %d\n", measured, n, failed)
}
