// SPDX-License-Identifier: GPL-2.0-only
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/version.h>

#include "steps.h"

static struct hrtimer timer;

static enum hrtimer_restart tick(struct hrtimer *fired)
{
	served++;
	hrtimer_forward_now(fired, ms_to_ktime(250));
	return HRTIMER_RESTART;
}

static int make(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
	hrtimer_init(&timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	timer.function = tick;
#else
	hrtimer_setup(&timer, tick, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#endif
	hrtimer_start(&timer, ms_to_ktime(250), HRTIMER_MODE_REL);
	return 0;
}

static void take_back(void)
{
	hrtimer_cancel(&timer);
}

static const struct step steps[] = {
	{ make, take_back },
};

SAMPLE("a high-resolution timer");
