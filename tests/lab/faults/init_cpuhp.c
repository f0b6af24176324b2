// SPDX-License-Identifier: GPL-2.0-only
/* Registers callbacks for CPUs that come and go, and dies in init. */
#include <linux/cpuhotplug.h>
#include <linux/init.h>
#include <linux/module.h>

#include "leaves.h"

static int state;

static int init_cpuhp_call(unsigned int cpu)
{
	return 0;
}

static int init_cpuhp_leave(void)
{
	state = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "lab:online",
					  init_cpuhp_call, init_cpuhp_call);
	return state < 0 ? state : 0;
}

static void init_cpuhp_take_back(void)
{
	cpuhp_remove_state_nocalls(state);
}

LEAVES(init_cpuhp, "a CPU hotplug state set up");
