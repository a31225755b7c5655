/*
 * net: a recurrent network, one step at a time. Written by elman.to_c.
 *
 *    layer  inputs  outputs  weights, B  state, B  multiply-adds  exp, tanh ...
 * 0  LSTM        3        8       1,536        64            352             40
 * 2  Dense       8        2          72         0             16              0
 *
 * weights       1,608 bytes, constant
 * state            64 bytes, one net_state for each sequence
 * scratch         128 bytes, arrays on the stack during a step
 * a step          368 multiply-adds with weights, 40 calls of exp, tanh ...
 */
#ifndef ELMAN_net_H
#define ELMAN_net_H

/* The same number in header and source tells that they are of one network. */
#define ELMAN_net_NETWORK 0x940b042735fb1fd

#ifdef __cplusplus
extern "C" {
#endif

enum {
    net_inputs = 3, /* numbers that a step takes */
    net_outputs = 2 /* numbers that a step gives */
};

/* What the network remembers from step to step. Any number may be in use, each by one thread at a time. */
typedef struct {
    float h_0[8];
    float c_0[8];
} net_state;

/* Makes new memory a state, the one before the first step. Every state is to be given here first. */
void net_init(net_state *s);

/* Back to the state before the first step: another sequence begins. */
void net_reset(net_state *s);

/* One step: reads x and writes y. No array may be part of another, or of *s. */
void net_step(net_state *s, const float x[net_inputs], float y[net_outputs]);

#ifdef __cplusplus
}
#endif

#endif
