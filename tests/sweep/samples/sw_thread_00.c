// SPDX-License-Identifier: GPL-2.0-only
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>

#include "steps.h"

static struct task_struct *thread;

static int run(void *unused)
{
	while (!kthread_should_stop()) {
		served++;
		msleep_interruptible(250);
	}
	return 0;
}

static int make(void)
{
	thread = kthread_run(run, NULL, NAME);
	return PTR_ERR_OR_ZERO(thread);
}

static void take_back(void)
{
	kthread_stop(thread);
}

static const struct step steps[] = {
	{ make, take_back },
};

SAMPLE("a kernel thread");
