// SPDX-License-Identifier: GPL-2.0-only
#include <linux/kprobes.h>

#include "steps.h"

static int hit(struct kprobe *probe, struct pt_regs *regs)
{
	served++;
	return 0;
}

static int returned(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	return 0;
}

static struct kprobe probe = {
	.symbol_name = "vfs_mkdir",
	.pre_handler = hit,
};

static struct kretprobe return_probe = {
	.kp.symbol_name = "vfs_rmdir",
	.handler = returned,
};

static int make_probe(void)
{
	return register_kprobe(&probe);
}

static void drop_probe(void)
{
	unregister_kprobe(&probe);
}

static int make_return_probe(void)
{
	return register_kretprobe(&return_probe);
}

static void drop_return_probe(void)
{
	unregister_kretprobe(&return_probe);
}

static const struct step steps[] = {
	{ make_probe, drop_probe },
	{ make_return_probe, drop_return_probe },
};

SAMPLE("a kprobe and a kretprobe");
