// SPDX-License-Identifier: GPL-2.0-only
/* Registers a congestion control and dies in init. */
#include <linux/init.h>
#include <linux/module.h>
#include <net/tcp.h>

#include "leaves.h"

static void init_tcp_avoid(struct sock *sk, u32 ack, u32 acked)
{
}

static struct tcp_congestion_ops init_tcp_ops = {
	.ssthresh = tcp_reno_ssthresh,
	.cong_avoid = init_tcp_avoid,
	.undo_cwnd = tcp_reno_undo_cwnd,
	.owner = THIS_MODULE,
	.name = "lab_tcp",
};

static int init_tcp_leave(void)
{
	return tcp_register_congestion_control(&init_tcp_ops);
}

static void init_tcp_take_back(void)
{
	tcp_unregister_congestion_control(&init_tcp_ops);
}

LEAVES(init_tcp, "a congestion control registered");
