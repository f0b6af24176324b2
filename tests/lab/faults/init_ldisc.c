// SPDX-License-Identifier: GPL-2.0-only
/* Registers a line discipline and dies in init. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/tty.h>
#include <linux/tty_ldisc.h>
#include <linux/version.h>

#include "leaves.h"

/* N_TRACEROUTER, whose driver is gone. */
#define LAB_LDISC 24

static struct tty_ldisc_ops init_ldisc_ops = {
	.owner = THIS_MODULE,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
	.num = LAB_LDISC,
#endif
	.name = "lab_ldisc",
};

static int init_ldisc_leave(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	return tty_register_ldisc(LAB_LDISC, &init_ldisc_ops);
#else
	return tty_register_ldisc(&init_ldisc_ops);
#endif
}

static void init_ldisc_take_back(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 14, 0)
	tty_unregister_ldisc(LAB_LDISC);
#else
	tty_unregister_ldisc(&init_ldisc_ops);
#endif
}

LEAVES(init_ldisc, "a line discipline registered");
