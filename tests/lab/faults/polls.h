/* SPDX-License-Identifier: GPL-2.0-only */
/* Takes a function, which whoever reads /dev/polls calls from then on. */
void polls_take(void (*function)(void));
