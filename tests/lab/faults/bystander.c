// SPDX-License-Identifier: GPL-2.0-only
/* A kernel thread of it dies: an oops that is neither in its init nor in its exit. */
#include <linux/compiler.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/module.h>

static int bystander_die(void *nothing)
{
#ifndef FIXED
	int *nowhere = nothing;

	WRITE_ONCE(*nowhere, 1);
#endif
	return 0;
}

static int __init bystander_init(void)
{
	return PTR_ERR_OR_ZERO(kthread_run(bystander_die, NULL, "lab_bystander"));
}

static void __exit bystander_exit(void)
{
}

module_init(bystander_init);
module_exit(bystander_exit);
MODULE_DESCRIPTION("Fault: a kernel thread that dies in the module's code");
MODULE_LICENSE("GPL");
