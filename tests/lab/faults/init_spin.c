// SPDX-License-Identifier: GPL-2.0-only
/* Spins in init on a CPU for ever and never yields it. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/processor.h>

static int __init init_spin_init(void)
{
#ifndef FIXED
	for (;;)
		cpu_relax();
#endif
	return 0;
}

static void __exit init_spin_exit(void)
{
}

module_init(init_spin_init);
module_exit(init_spin_exit);
MODULE_DESCRIPTION("Fault: spins in init for ever");
MODULE_LICENSE("GPL");
