// SPDX-License-Identifier: GPL-2.0-only
/* Takes the magic key y and dies in init. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/sysrq.h>
#include <linux/version.h>

#include "leaves.h"

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
static void init_sysrq_pressed(int key)
#else
static void init_sysrq_pressed(u8 key)
#endif
{
}

static const struct sysrq_key_op init_sysrq_op = {
	.handler = init_sysrq_pressed,
	.help_msg = "lab(y)",
	.action_msg = "Lab",
};

static int init_sysrq_leave(void)
{
	return register_sysrq_key('y', &init_sysrq_op);
}

static void init_sysrq_take_back(void)
{
	unregister_sysrq_key('y', &init_sysrq_op);
}

LEAVES(init_sysrq, "a magic key taken");
