// SPDX-License-Identifier: GPL-2.0-only
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/timer.h>

#include "steps.h"
#include "text.h"

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = NAME,
	.fops = &text_fops,
};

static struct task_struct *thread;

static int make_device(void)
{
	return misc_register(&device);
}

static void drop_device(void)
{
	misc_deregister(&device);
}

static int show(struct seq_file *file, void *unused)
{
	seq_puts(file, "lab\n");
	return 0;
}

static int make_file(void)
{
	return proc_create_single(NAME, 0444, NULL, show) ? 0 : -ENOMEM;
}

static void drop_file(void)
{
	remove_proc_entry(NAME, NULL);
}

static void tick(struct timer_list *timer)
{
	mod_timer(timer, jiffies + HZ / 4);
}

static DEFINE_TIMER(timer, tick);

static int make_timer(void)
{
	mod_timer(&timer, jiffies + HZ / 4);
	return 0;
}

static void drop_timer(void)
{
	timer_delete_sync(&timer);
}

static int run(void *unused)
{
	while (!kthread_should_stop()) {
		served++;
		msleep_interruptible(250);
	}
	return 0;
}

static int make_thread(void)
{
	thread = kthread_run(run, NULL, NAME);
	return PTR_ERR_OR_ZERO(thread);
}

static void drop_thread(void)
{
	kthread_stop(thread);
}

static int hit(struct kprobe *probe, struct pt_regs *regs)
{
	return 0;
}

static struct kprobe probe = {
	.symbol_name = "vfs_mkdir",
	.pre_handler = hit,
};

static int make_probe(void)
{
	return register_kprobe(&probe);
}

static void drop_probe(void)
{
	unregister_kprobe(&probe);
}

static const struct step steps[] = {
	{ make_device, drop_device },
	{ make_file, drop_file },
	{ make_timer, drop_timer },
	{ make_thread, drop_thread },
	{ make_probe, drop_probe },
};

SAMPLE("a device, a file, a timer, a thread and a kprobe");
