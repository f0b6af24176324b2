// SPDX-License-Identifier: GPL-2.0-only
/* Registers a binary format and dies in init. */
#include <linux/binfmts.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>

#include "leaves.h"

static int init_binfmt_load(struct linux_binprm *program)
{
	return -ENOEXEC;
}

static struct linux_binfmt init_binfmt_format = {
	.module = THIS_MODULE,
	.load_binary = init_binfmt_load,
};

static int init_binfmt_leave(void)
{
	register_binfmt(&init_binfmt_format);
	return 0;
}

static void init_binfmt_take_back(void)
{
	unregister_binfmt(&init_binfmt_format);
}

LEAVES(init_binfmt, "a binary format registered");
