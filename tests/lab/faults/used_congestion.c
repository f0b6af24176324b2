// SPDX-License-Identifier: GPL-2.0-only
/* A congestion control that a connection, or a socket that is to be one, has. */
#include <linux/init.h>
#include <linux/module.h>
#include <net/tcp.h>

static struct tcp_congestion_ops used_congestion_ops = {
	.owner = THIS_MODULE,
	.name = "used_cong",
	.flags = TCP_CONG_NON_RESTRICTED,
	.ssthresh = tcp_reno_ssthresh,
	.cong_avoid = tcp_reno_cong_avoid,
	.undo_cwnd = tcp_reno_undo_cwnd,
};

static int __init used_congestion_init(void)
{
	return tcp_register_congestion_control(&used_congestion_ops);
}

static void __exit used_congestion_exit(void)
{
	tcp_unregister_congestion_control(&used_congestion_ops);
}

module_init(used_congestion_init);
module_exit(used_congestion_exit);
MODULE_DESCRIPTION("No fault: a congestion control that a socket has");
MODULE_LICENSE("GPL");
