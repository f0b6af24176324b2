/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef NEEDED_H
#define NEEDED_H

int needed_dies(void);

#endif
