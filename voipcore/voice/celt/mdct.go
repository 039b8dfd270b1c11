package celt

import "math"

// A mdct computes the lapped transform of 4.3.7 forwards: n coefficients from
// n+shortLen samples. The fold leaves a DCT-IV of n points, which is a complex
// Fourier transform of n/2 points between two rotations.
type mdct struct {
	n     int
	twist []cpx // rotation before and after, each with the root of the scale
	order []uint16
	fft   []stage
	fold  []float32 // scratch
	work  []cpx     // scratch
}

type cpx struct{ re, im float32 }

// A stage joins radix transforms of span points each.
type stage struct {
	radix, span int
	twiddle     []cpx // radix-1 factors for each of the span points
}

// newMDCT makes the transform for n coefficients, of which n/2 must be a
// product of 2, 3, 4 and 5.
func newMDCT(n int) *mdct {
	m := &mdct{n: n, fold: make([]float32, n), work: make([]cpx, n/2)}
	points := n / 2
	// The inverse transform of the standard has no factor, so 2/n is here.
	root := math.Sqrt(2 / float64(n))
	for k := range points {
		sin, cos := math.Sincos(-math.Pi * (8*float64(k) + 1) / (8 * float64(n)))
		m.twist = append(m.twist, cpx{float32(root * cos), float32(root * sin)})
	}
	var radices []int
	for rest := points; rest > 1; {
		for _, r := range []int{4, 2, 3, 5} {
			if rest%r == 0 {
				radices = append(radices, r)
				rest /= r
				break
			}
		}
	}
	span := 1
	for _, r := range radices {
		s := stage{radix: r, span: span}
		for k := range span {
			for j := 1; j < r; j++ {
				sin, cos := math.Sincos(-2 * math.Pi * float64(j*k) / float64(span*r))
				s.twiddle = append(s.twiddle, cpx{float32(cos), float32(sin)})
			}
		}
		m.fft = append(m.fft, s)
		span *= r
	}
	// Decimation in time wants the input in the order of reversed digits.
	m.order = make([]uint16, points)
	for i := range m.order {
		at, rest, weight := 0, i, points
		for k := len(radices) - 1; k >= 0; k-- {
			weight /= radices[k]
			at += rest % radices[k] * weight
			rest /= radices[k]
		}
		m.order[i] = uint16(at)
	}
	return m
}

// forward transforms n+shortLen samples and writes coefficient k to out[k*stride].
func (m *mdct) forward(in, out []float32, stride int) {
	n, half := m.n, m.n/2
	const edge = shortLen / 2
	in = in[:n+shortLen]
	lo, hi := m.fold[:half], m.fold[half:n]
	for i := range edge {
		a, b := window[edge-1-i], window[edge+i]
		lo[i] = -in[n+edge-1-i]*b - in[n+edge+i]*a
		hi[half-1-i] = in[edge-1-i]*a - in[edge+i]*b
	}
	for i := edge; i < half; i++ {
		lo[i] = -in[n+edge-1-i]
		hi[half-1-i] = -in[edge+i]
	}
	fold, order := m.fold[:n], m.order[:half]
	for i, t := range m.twist[:half] {
		re, im := fold[2*i], fold[n-1-2*i]
		m.work[order[i]] = cpx{re*t.re - im*t.im, re*t.im + im*t.re}
	}
	for i := range m.fft {
		m.fft[i].run(m.work)
	}
	up, down := 0, (n-1)*stride
	for i, t := range m.twist[:half] {
		w := m.work[i]
		out[up] = w.re*t.re - w.im*t.im
		out[down] = -(w.re*t.im + w.im*t.re)
		up += 2 * stride
		down -= 2 * stride
	}
}

func (s *stage) run(x []cpx) {
	switch s.radix {
	case 2:
		s.run2(x)
	case 3:
		s.run3(x)
	case 4:
		if s.span == 1 {
			first4(x)
		} else {
			s.run4(x)
		}
	case 5:
		s.run5(x)
	}
}

func (a cpx) mul(b cpx) cpx { return cpx{a.re*b.re - a.im*b.im, a.re*b.im + a.im*b.re} }
func (a cpx) add(b cpx) cpx { return cpx{a.re + b.re, a.im + b.im} }
func (a cpx) sub(b cpx) cpx { return cpx{a.re - b.re, a.im - b.im} }

func (s *stage) run2(x []cpx) {
	span := s.span
	for ; len(x) >= 2*span; x = x[2*span:] {
		a, b, w := x[:span], x[span:2*span], s.twiddle[:span]
		for k := range a {
			v := b[k].mul(w[k])
			b[k] = a[k].sub(v)
			a[k] = a[k].add(v)
		}
	}
}

func (s *stage) run3(x []cpx) {
	const sin = 0.86602540378443865 // of 60 degrees
	span := s.span
	for ; len(x) >= 3*span; x = x[3*span:] {
		a, b, c, w := x[:span], x[span:2*span], x[2*span:3*span], s.twiddle
		for k := range a {
			v1, v2 := b[k].mul(w[2*k]), c[k].mul(w[2*k+1])
			p, q := v1.add(v2), v1.sub(v2)
			m := cpx{a[k].re - 0.5*p.re, a[k].im - 0.5*p.im}
			a[k] = a[k].add(p)
			b[k] = cpx{m.re + sin*q.im, m.im - sin*q.re}
			c[k] = cpx{m.re - sin*q.im, m.im + sin*q.re}
		}
	}
}

// first4 is the stage of radix 4 that has no twiddles.
func first4(x []cpx) {
	for ; len(x) >= 4; x = x[4:] {
		p, q := x[0].add(x[2]), x[0].sub(x[2])
		r, s := x[1].add(x[3]), x[1].sub(x[3])
		x[0] = p.add(r)
		x[1] = cpx{q.re + s.im, q.im - s.re}
		x[2] = p.sub(r)
		x[3] = cpx{q.re - s.im, q.im + s.re}
	}
}

func (s *stage) run4(x []cpx) {
	span := s.span
	for ; len(x) >= 4*span; x = x[4*span:] {
		a, b, c, d := x[:span], x[span:2*span], x[2*span:3*span], x[3*span:4*span]
		w := s.twiddle
		for k := range a {
			v1, v2, v3 := b[k].mul(w[0]), c[k].mul(w[1]), d[k].mul(w[2])
			w = w[3:]
			p, q := a[k].add(v2), a[k].sub(v2)
			r, t := v1.add(v3), v1.sub(v3)
			a[k] = p.add(r)
			b[k] = cpx{q.re + t.im, q.im - t.re}
			c[k] = p.sub(r)
			d[k] = cpx{q.re - t.im, q.im + t.re}
		}
	}
}

func (s *stage) run5(x []cpx) {
	const (
		c1, s1 = 0.30901699437494742, 0.95105651629515357  // of 72 degrees
		c2, s2 = -0.80901699437494742, 0.58778525229247313 // of 144 degrees
	)
	span := s.span
	for ; len(x) >= 5*span; x = x[5*span:] {
		a, b, c, d, e := x[:span], x[span:2*span], x[2*span:3*span], x[3*span:4*span], x[4*span:5*span]
		w := s.twiddle
		for k := range a {
			v1, v2, v3, v4 := b[k].mul(w[0]), c[k].mul(w[1]), d[k].mul(w[2]), e[k].mul(w[3])
			w = w[4:]
			p, q := v1.add(v4), v1.sub(v4)
			r, t := v2.add(v3), v2.sub(v3)
			z := a[k]
			a[k] = cpx{z.re + p.re + r.re, z.im + p.im + r.im}
			m := cpx{z.re + c1*p.re + c2*r.re, z.im + c1*p.im + c2*r.im}
			u := cpx{s1*q.im + s2*t.im, -s1*q.re - s2*t.re}
			b[k], e[k] = m.add(u), m.sub(u)
			m = cpx{z.re + c2*p.re + c1*r.re, z.im + c2*p.im + c1*r.im}
			u = cpx{s2*q.im - s1*t.im, -s2*q.re + s1*t.re}
			c[k], d[k] = m.add(u), m.sub(u)
		}
	}
}
