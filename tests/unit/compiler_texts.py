# Copyright: (c) 2026, kernelops.kmod contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What real kernels, compilers and modules say of the compiler, with where each text is from. None is made up.

Each row: source, text, family, version, vendor. A source is an address, a file of this repository, a Python wheel whose
shared library has the text, or, for a file in a public repository, the words that GitHub's code search finds it by.
"""

GITHUB = 'https://github.com/'
CAPTURES = 'tests/unit/captures/linux-'
ANDROID = '(https://android.googlesource.com/toolchain/llvm-project c935d99d7cf2016289302412d708641d52d2f7ee)'

# /proc/version, or the first line of the kernel's log
VERSION_BANNERS = {
    'Debian 11': (
        CAPTURES + '5.10/host/proc_version',
        ('Linux version 5.10.0-32-amd64 (debian-kernel@lists.debian.org) (gcc-10 (Debian 10.2.1-6) 10.2.1 20210110, '
         'GNU ld (GNU Binutils for Debian) 2.35.2) #1 SMP Debian 5.10.223-1 (2024-08-10)'),
        'gcc', '10.2.1', 'Debian 10.2.1-6'),
    'Debian 12': (
        CAPTURES + '6.1/host/proc_version',
        ('Linux version 6.1.0-50-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0, '
         'GNU ld (GNU Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-07-02)'),
        'gcc', '12.2.0', 'Debian 12.2.0-14+deb12u1'),
    'Debian 13': (
        CAPTURES + '6.12/host/proc_version',
        ('Linux version 6.12.107+deb13-amd64 (debian-kernel@lists.debian.org) (x86_64-linux-gnu-gcc-14 (Debian '
         '14.2.0-19) 14.2.0, GNU ld (GNU Binutils for Debian) 2.44) #1 SMP PREEMPT_DYNAMIC Debian 6.12.107-1 '
         '(2026-08-29)'),
        'gcc', '14.2.0', 'Debian 14.2.0-19'),
    'Debian 13 backports': (
        CAPTURES + '7.3/host/proc_version',
        ('Linux version 7.3.4+deb13-amd64 (debian-kernel@lists.debian.org) (x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) '
         '14.2.0, GNU ld (GNU Binutils for Debian) 2.44) #1 SMP PREEMPT_DYNAMIC Debian 7.3.4-1~bpo13+1 (2026-11-15)'),
        'gcc', '14.2.0', 'Debian 14.2.0-19'),
    'Ubuntu 12.04': (
        GITHUB + 'DE-IBH/apt-dater-host/pull/1',
        ('Linux version 3.2.0-31-generic (buildd@allspice) (gcc version 4.6.3 (Ubuntu/Linaro 4.6.3-1ubuntu5) ) '
         '#50-Ubuntu SMP Fri Sep 7 16:16:45 UTC 2012'),
        'gcc', '4.6.3', 'Ubuntu/Linaro 4.6.3-1ubuntu5'),
    'Ubuntu 18.04, Amazon flavour': (
        GITHUB + 'aws/aws-parallelcluster-cookbook/pull/577',
        ('Linux version 4.15.0-1065-aws (buildd@lgw01-amd64-035) (gcc version 7.5.0 (Ubuntu 7.5.0-3ubuntu1~18.04)) '
         '#69-Ubuntu SMP Thu Mar 26 02:17:29 UTC 2020'),
        'gcc', '7.5.0', 'Ubuntu 7.5.0-3ubuntu1~18.04'),
    'Ubuntu 22.04': (
        GITHUB + 'Mellanox/doca-driver-build/pull/24',
        ('Linux version 5.15.0-130-generic (buildd@lcy02-amd64-056) (gcc (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0, GNU ld '
         '(GNU Binutils for Ubuntu) 2.38) #140-Ubuntu SMP Wed Dec 18 17:59:53 UTC 2024'),
        'gcc', '11.4.0', 'Ubuntu 11.4.0-1ubuntu1~22.04'),
    'Ubuntu 24.04': (
        GITHUB + 'Mellanox/doca-driver-build/pull/24',
        ('Linux version 6.8.0-50-generic (buildd@lcy02-amd64-020) (x86_64-linux-gnu-gcc-13 (Ubuntu '
         '13.3.0-6ubuntu2~24.04) 13.3.0, GNU ld (GNU Binutils for Ubuntu) 2.42) #51-Ubuntu SMP PREEMPT_DYNAMIC Sat Nov '
         '9 17:58:29 UTC 2024'),
        'gcc', '13.3.0', 'Ubuntu 13.3.0-6ubuntu2~24.04'),
    'CentOS 7': (
        'GitHub code search: "3.10.0-1127.el7.x86_64 (mockbuild@kbuilder.bsys.centos.org)"',
        ('Linux version 3.10.0-1127.el7.x86_64 (mockbuild@kbuilder.bsys.centos.org) (gcc version 4.8.5 20150623 (Red '
         'Hat 4.8.5-39) (GCC) ) #1 SMP Tue Mar 31 23:36:51 UTC 2020'),
        'gcc', '4.8.5', 'Red Hat 4.8.5-39'),
    'CentOS 7.2': (
        'GitHub code search: "3.10.0-327.el7.x86_64 (builder@kbuilder.dev.centos.org)"',
        ('Linux version 3.10.0-327.el7.x86_64 (builder@kbuilder.dev.centos.org) (gcc version 4.8.3 20140911 (Red Hat '
         '4.8.3-9) (GCC) ) #1 SMP Thu Nov 19 22:10:57 UTC 2015'),
        'gcc', '4.8.3', 'Red Hat 4.8.3-9'),
    'RHEL 8': (
        'GitHub code search: "4.18.0-107.el8.x86_64 (mockbuild@x86-vm-09.build.eng.bos.redhat.com)"',
        ('Linux version 4.18.0-107.el8.x86_64 (mockbuild@x86-vm-09.build.eng.bos.redhat.com) (gcc version 8.3.1 '
         '20190507 (Red Hat 8.3.1-4) (GCC)) #1 SMP Fri Jun 14 13:46:34 UTC 2019'),
        'gcc', '8.3.1', 'Red Hat 8.3.1-4'),
    'CentOS 8': (
        'GitHub code search: "4.18.0-348.el8.x86_64 (mockbuild@kbuilder.bsys.centos.org)"',
        ('Linux version 4.18.0-348.el8.x86_64 (mockbuild@kbuilder.bsys.centos.org) (gcc version 8.5.0 20210514 (Red '
         'Hat 8.5.0-3) (GCC)) #1 SMP Tue Oct 19 15:14:17 UTC 2021'),
        'gcc', '8.5.0', 'Red Hat 8.5.0-3'),
    'RHEL 9': (
        GITHUB + 'Mellanox/doca-driver-build/pull/24',
        ('Linux version 5.14.0-427.47.1.el9_4.x86_64 (mockbuild@x86-64-01.build.eng.rdu2.redhat.com) (gcc (GCC) 11.4.1 '
         '20231218 (Red Hat 11.4.1-3), GNU ld version 2.35.2-43.el9) #1 SMP PREEMPT_DYNAMIC Mon Nov 25 07:17:14 EST '
         '2024'),
        'gcc', '11.4.1', 'Red Hat 11.4.1-3'),
    'CentOS Stream 10': (
        'GitHub code search: "6.12.0-66.el10.x86_64 (mockbuild"',
        ('Linux version 6.12.0-66.el10.x86_64 (mockbuild@694f893baa82435fb52e73f7c6675ecf) (gcc (GCC) 14.2.1 20250110 '
         '(Red Hat 14.2.1-7), GNU ld version 2.41-52.el10) #1 SMP PREEMPT_DYNAMIC Thu Mar 20 13:49:55 UTC 2025'),
        'gcc', '14.2.1', 'Red Hat 14.2.1-7'),
    'AlmaLinux 10': (
        'GitHub code search: "6.12.0-124.49.1.el10_1.x86_64 (mockbuild@x64-builder03.almalinux.org)"',
        ('Linux version 6.12.0-124.49.1.el10_1.x86_64 (mockbuild@x64-builder03.almalinux.org) (gcc (GCC) 14.3.1 '
         '20250617 (Red Hat 14.3.1-2), GNU ld version 2.41-58.el10_1.2.alma.1) #1 SMP PREEMPT_DYNAMIC Thu Apr  9 '
         '00:52:33 EDT 2026'),
        'gcc', '14.3.1', 'Red Hat 14.3.1-2'),
    'Oracle Linux 8, UEK 7': (
        'GitHub code search: "5.15.0-206.153.7.1.el8uek.x86_64 (mockbuild@host-100-100-224-14)"',
        ('Linux version 5.15.0-206.153.7.1.el8uek.x86_64 (mockbuild@host-100-100-224-14) (gcc (GCC) 11.4.1 20230605 '
         '(Red Hat 11.4.1-2.1.0.1), GNU ld version 2.36.1-4.0.2.el8_6) #2 SMP Wed May 22 20:49:34 PDT 2024'),
        'gcc', '11.4.1', 'Red Hat 11.4.1-2.1.0.1'),
    'Fedora 23': (
        GITHUB + 'moby/moby/issues/31215',
        ('Linux version 4.7.4-100.fc23.x86_64 (mockbuild@bkernel02.phx2.fedoraproject.org) (gcc version 5.3.1 20160406 '
         '(Red Hat 5.3.1-6) (GCC) ) #1 SMP Thu Sep 15 18:48:53 UTC 2016'),
        'gcc', '5.3.1', 'Red Hat 5.3.1-6'),
    'Fedora 41': (
        GITHUB + 'morrownr/8821au-20210708/issues/133',
        ('Linux version 6.14.0-0.rc0.20250121gt95ec54a4.361.vanilla.fc41.x86_64 (mockbuild@'
         '57985ab78f52458fbfea3df90e8a8524) (gcc (GCC) 14.2.1 20250110 (Red Hat 14.2.1-7), GNU ld version '
         '2.43.1-5.fc41) #1 SMP PREEMPT_DYNAMIC Tue Jan 21 07:46:20 UTC 2025'),
        'gcc', '14.2.1', 'Red Hat 14.2.1-7'),
    'SUSE Linux Enterprise 11': (
        GITHUB + 'opentelekomcloud-docs/mapreduce-service (ALM-12045)',
        ('Linux version 3.0.101-63-default (geeko@buildhost) (gcc version 4.3.4 [gcc-4_3-branch revision 152973] (SUSE '
         'Linux) ) #1 SMP Tue Jun 23 16:02:31 UTC 2015 (4b89d0c)'),
        'gcc', '4.3.4', 'SUSE Linux'),
    'SUSE Linux Enterprise 15': (
        'GitHub code search: "5.14.21-150400.24.103-default (geeko@buildhost)"',
        ('Linux version 5.14.21-150400.24.103-default (geeko@buildhost) (gcc (SUSE Linux) 7.5.0, GNU ld (GNU Binutils; '
         'SUSE Linux Enterprise 15) 2.41.0.20230908-150100.7.46) #1 SMP PREEMPT_DYNAMIC Wed Jan 10 13:40:49 UTC 2024 '
         '(8afebed)'),
        'gcc', '7.5.0', 'SUSE Linux'),
    'openSUSE Tumbleweed': (
        'https://lore.kernel.org/r/CB0F618D-2B3C-473A-93BC-A6AD752B9EC6@suse.de',
        ('Linux version 5.14.11-0.g6451538-default (geeko@buildhost) (gcc (SUSE Linux) 11.2.1 20210816 [revision '
         '056e324ce46a7924b5cf10f61010cf9dd2ca10e9], GNU ld (GNU Binutils; openSUSE Tumbleweed) 2.37.20210803-1) #1 '
         'SMP Wed Oct 13 12:57:23 UTC 2021 (6451538)'),
        'gcc', '11.2.1', 'SUSE Linux'),
    'Arch 2017': (
        GITHUB + 'rockowitz/ddcutil/issues/40',
        ('Linux version 4.12.8-2-ARCH (builduser@foutrelis) (gcc version 7.2.0 (GCC) ) #1 SMP PREEMPT Fri Aug 18 '
         '14:08:02 UTC 2017'),
        'gcc', '7.2.0', ''),
    'Arch 2020': (
        'GitHub code search: "5.7.8-arch1-1 (linux@archlinux) (gcc version 10.1.0"',
        ('Linux version 5.7.8-arch1-1 (linux@archlinux) (gcc version 10.1.0 (GCC), GNU ld (GNU Binutils) 2.34.0) #1 '
         'SMP PREEMPT Thu, 09 Jul 2020 16:34:01 +0000'),
        'gcc', '10.1.0', ''),
    'Arch, a kernel of a user\'s': (
        GITHUB + 'canonical/lxd/issues/3725',
        ('Linux version 4.12.8-2-userns (jenkins@arch-aur-builder-mt605) (gcc version 7.1.1 20170630 (GCC) ) #1 SMP '
         'PREEMPT Thu Aug 24 06:28:53 UTC 2017'),
        'gcc', '7.1.1', ''),
    'Amazon Linux 2': (
        'GitHub code search: "4.14.193-149.317.amzn2.x86_64 (mockbuild@ip-10-0-1-32)"',
        ('Linux version 4.14.193-149.317.amzn2.x86_64 (mockbuild@ip-10-0-1-32) (gcc version 7.3.1 20180712 (Red Hat '
         '7.3.1-9) (GCC)) #1 SMP Thu Sep 3 19:04:44 UTC 2020'),
        'gcc', '7.3.1', 'Red Hat 7.3.1-9'),
    'Amazon Linux 2, its gcc10-gcc': (
        'GitHub code search: "5.10.162-141.675.amzn2.x86_64 (mockbuild@ip-10-0-51-51)"',
        ('Linux version 5.10.162-141.675.amzn2.x86_64 (mockbuild@ip-10-0-51-51) (gcc10-gcc (GCC) 10.3.1 20210422 (Red '
         'Hat 10.3.1-1), GNU ld version 2.35.2-9.amzn2.0.1) #1 SMP Mon Jan 9 22:45:11 UTC 2023'),
        'gcc', '10.3.1', 'Red Hat 10.3.1-1'),
    'Amazon Linux 2023': (
        GITHUB + 'astral-sh/uv/issues/13923',
        ('Linux version 6.1.134-152.225.amzn2023.x86_64 (mockbuild@ip-10-0-33-51) (gcc (GCC) 11.5.0 20240719 (Red Hat '
         '11.5.0-5), GNU ld version 2.41-50.amzn2023.0.3) #1 SMP PREEMPT_DYNAMIC Wed May  7 09:10:59 UTC 2025'),
        'gcc', '11.5.0', 'Red Hat 11.5.0-5'),
    'Alpine': (
        GITHUB + 'jpegleg/giant-spellbook (README.md)',
        ('Linux version 6.6.94-0-lts (buildozer@build-3-20-x86_64) (gcc (Alpine 13.2.1_git20240309) 13.2.1 20240309, '
         'GNU ld (GNU Binutils) 2.42) #1-Alpine SMP PREEMPT_DYNAMIC 2025-06-23 15:38:39'),
        'gcc', '13.2.1', 'Alpine 13.2.1_git20240309'),
    'Raspberry Pi OS, a cross compiler': (
        GITHUB + 'raspberrypi/firmware/issues/1584',
        ('Linux version 5.10.35-v8+ (dom@buildbot) (aarch64-linux-gnu-gcc-8 (Ubuntu/Linaro 8.4.0-3ubuntu1) 8.4.0, GNU '
         'ld (GNU Binutils for Ubuntu) 2.34) #1417 SMP PREEMPT Fri May 7 17:44:55 BST 2021'),
        'gcc', '8.4.0', 'Ubuntu/Linaro 8.4.0-3ubuntu1'),
    'Raspberry Pi OS, crosstool-NG': (
        GITHUB + 'jblance/mpp-solar/issues/9',
        ('Linux version 4.19.97-v7l+ (dom@buildbot) (gcc version 4.9.3 (crosstool-NG crosstool-ng-1.22.0-88-g8460611)) '
         '#1294 SMP Thu Jan 30 13:21:14 GMT 2020'),
        'gcc', '4.9.3', 'crosstool-NG crosstool-ng-1.22.0-88-g8460611'),
    'Raspberry Pi OS, a prerelease': (
        GITHUB + 'notro/rpi-source/pull/12',
        ('Linux version 4.0.7-v7+ (dc4@dc4-XPS13-9333) (gcc version 4.8.3 20140303 (prerelease) (crosstool-NG '
         'linaro-1.13.1+bzr2650 - Linaro GCC 2014.03) ) #801 SMP PREEMPT Tue Jun 30 18:38:23 BST 2015'),
        'gcc', '4.8.3', 'crosstool-NG linaro-1.13.1+bzr2650 - Linaro GCC 2014.03'),
    'OpenWrt 18': (
        GITHUB + 'openwrt/openwrt/pull/1265',
        ('Linux version 4.14.61 (pilot6@Pilot6) (gcc version 7.3.0 (OpenWrt GCC 7.3.0 r7764-733fddc)) #0 Thu Aug 9 '
         '18:08:01 2018'),
        'gcc', '7.3.0', 'OpenWrt GCC 7.3.0 r7764-733fddc'),
    'OpenWrt, a cross compiler': (
        GITHUB + 'openwrt/openwrt/pull/2417',
        ('Linux version 5.10.80 (nick@cool) (arm-openwrt-linux-muslgnueabi-gcc (OpenWrt GCC 11.2.0 '
         'r18107+28-db34b93331) 11.2.0, GNU ld (GNU Binutils) 2.37) #0 SMP Fri Nov 19 19:30:23 2021'),
        'gcc', '11.2.0', 'OpenWrt GCC 11.2.0 r18107+28-db34b93331'),
    'WSL 1': (
        GITHUB + 'microsoft/WSL/issues/4555',
        ('Linux version 4.4.0-18985-Microsoft (Microsoft@Microsoft.com) (gcc version 5.4.0 (GCC) ) #1-Microsoft Fri '
         'Sep 13 14:26:00 PST 2019'),
        'gcc', '5.4.0', ''),
    'WSL 1, two numbers': (
        GITHUB + 'microsoft/WSL/issues/1090',
        ('Linux version 3.4.0-Microsoft (Microsoft@Microsoft.com) (gcc version 4.7 (GCC) ) #1 SMP PREEMPT Wed Dec 31 '
         '14:42:53 PST 2014'),
        'gcc', '4.7', ''),
    'WSL 2': (
        GITHUB + 'leoheck/kiri/pull/28',
        ('Linux version 5.4.72-microsoft-standard-WSL2 (oe-user@oe-host) (gcc version 8.2.0 (GCC)) #1 SMP Wed Oct 28 '
         '23:40:43 UTC 2020'),
        'gcc', '8.2.0', ''),
    'Gentoo, clang': (
        GITHUB + 'sandikata/ROKO__/issues/31',
        ('Linux version 6.1.1-gentoo-filthy (root@GentooRig) (clang version 15.0.6, LLD 15.0.6) #4 SMP PREEMPT_DYNAMIC '
         'Wed Dec 21 20:36:14 PST 2022'),
        'clang', '15.0.6', ''),
    'Android 11': (
        'GitHub code search: "5.4.61-android11-2-00020-g68ecddcda842-ab7092597"',
        ('Linux version 5.4.61-android11-2-00020-g68ecddcda842-ab7092597 (build-user@build-host) (Android (6443078 '
         'based on r383902) clang version 11.0.1 (https://android.googlesource.com/toolchain/llvm-project '
         'b397f81060ce6d701042b782172ed13bee898b79), LLD 11.0.1 (/buildbot/tmp/tmp6_m7QH '
         'b397f81060ce6d701042b782172ed13bee898b79)) #1 SMP PREEMPT Tue Jan 19 19:02:47 UTC 2021'),
        'clang', '11.0.1', 'Android (6443078 based on r383902)'),
    'Android 13': (
        GITHUB + 'tesla-android/issue-tracker/issues/114',
        'Linux version 5.15.33-android13-0-GloDroid+ (nobody@android-build) (Android (7485623, based on r416183b1) '
        'clang version 12.0.7 ' + ANDROID + ', LLD 12.0.7 '
        '(/buildbot/src/android/llvm-r416183/out/llvm-project/lld c935d99d7cf2016289302412d708641d52d2f7ee)) #1 SMP '
        'PREEMPT Mon Oct 31 19:21:04 CET 2022',
        'clang', '12.0.7', 'Android (7485623, based on r416183b1)'),
    'Android, commas in the vendor': (
        GITHUB + 'vlxlxlv/android-kernel-common-5.10/issues/2',
        ('Linux version 5.10.222-villhaze!-v1.9 (build-user@build-host) (Android (12085363, +pgo, +bolt, +lto, +mlgo, '
         'based on r530567) clang version 19.0.0 (https://android.googlesource.com/toolchain/llvm-project '
         '97a699bf4812a18fb657c2779f5296a4ab2694d2), LLD 19.0.0) #1 SMP PREEMPT Sat Jul 20 17:59:53 UTC 2024'),
        'clang', '19.0.0', 'Android (12085363, +pgo, +bolt, +lto, +mlgo, based on r530567)'),
    'Android, no linker named': (
        'GitHub code search: "4.9.270-g862f51bac900-ab7613625"',
        'Linux version 4.9.270-g862f51bac900-ab7613625 (android-build@abfarm-east4-101) (Android (7284624, based on '
        'r416183b) clang version 12.0.5 ' + ANDROID + ') #0 SMP PREEMPT Thu Aug 5 07:04:42 UTC 2021',
        'clang', '12.0.5', 'Android (7284624, based on r416183b)'),
}

# CONFIG_CC_VERSION_TEXT, or the first line of "CC --version"; the command is the sixth
CC_LINES = {
    'a cross prefix': (
        GITHUB + 'free5gc/gtp5g/issues/85', 'aarch64-linux-gnu-gcc (Ubuntu 9.4.0-1ubuntu1~20.04.2) 9.4.0',
        'gcc', '9.4.0', 'Ubuntu 9.4.0-1ubuntu1~20.04.2', 'aarch64-linux-gnu-gcc'),
    'Flatcar': (
        GITHUB + 'falcosecurity/falco/issues/3524',
        'x86_64-cros-linux-gnu-gcc (Gentoo Hardened 14.2.1_p20241221 p7) 14.2.1 20241221',
        'gcc', '14.2.1', 'Gentoo Hardened 14.2.1_p20241221 p7', 'x86_64-cros-linux-gnu-gcc'),
    'Gentoo': (
        GITHUB + 'dlundqvist/xone/issues/192',
        'x86_64-pc-linux-gnu-gcc-15 (Gentoo Hardened 15.2.1_p20260214 p5) 15.2.1 20260214',
        'gcc', '15.2.1', 'Gentoo Hardened 15.2.1_p20260214 p5', 'x86_64-pc-linux-gnu-gcc-15'),
    'a name that is not the version': (
        GITHUB + 'Open-CAS/open-cas-linux/issues/1756',
        'gcc-13 (GCC) 15.1.1 20250502 (Advance-Toolchain 19.0-0) [066115a7a44a]',
        'gcc', '15.1.1', 'Advance-Toolchain 19.0-0', 'gcc-13'),
    'cc': (
        GITHUB + 'clearlinux/distribution/issues/1133',
        'cc (Clear Linux OS for Intel Architecture) 9.2.1 20190813 gcc-9-branch@274401',
        'gcc', '9.2.1', 'Clear Linux OS for Intel Architecture', 'cc'),
    'Amazon Linux 2': (
        'GitHub code search: "gcc10-gcc (GCC) 10.3.1 20210422"', 'gcc10-gcc (GCC) 10.3.1 20210422 (Red Hat 10.3.1-1)',
        'gcc', '10.3.1', 'Red Hat 10.3.1-1', 'gcc10-gcc'),
    'SUSE': (
        GITHUB + 'BitBoxSwiss/mcu/pull/1', 'gcc (SUSE Linux) 4.7.2 20130108 [gcc-4_7-branch revision 195012]',
        'gcc', '4.7.2', 'SUSE Linux', 'gcc'),
    'Buildroot': (
        GITHUB + 'nisargjhaveri/WirelessAndroidAutoDongle/issues/37',
        'arm-buildroot-linux-gnueabihf-gcc.br_real (Buildroot -g7a59c3a4) 12.3.0',
        'gcc', '12.3.0', 'Buildroot -g7a59c3a4', 'arm-buildroot-linux-gnueabihf-gcc.br_real'),
    'Linaro, a prerelease': (
        GITHUB + 'raspberrypi/firmware/issues/305',
        ('arm-linux-gnueabihf-gcc (crosstool-NG linaro-1.13.1-4.8-2014.01 - Linaro GCC 2013.11) 4.8.3 20140106 '
         '(prerelease)'),
        'gcc', '4.8.3', 'crosstool-NG linaro-1.13.1-4.8-2014.01 - Linaro GCC 2013.11', 'arm-linux-gnueabihf-gcc'),
    'Debian\'s clang': (
        GITHUB + 'ClangBuiltLinux/linux/issues/1572', 'Debian clang version 13.0.1-+rc1-1~exp4',
        'clang', '13.0.1', 'Debian', 'clang'),
    'OpenMandriva\'s clang': (
        GITHUB + 'morrownr/88x2bu-20210702/issues/130',
        ('OpenMandriva 15.0.7-3 clang version 15.0.7 (/builddir/build/BUILD/llvm-project-15.0.7.src/clang '
         'c5b761db9d28a8cbbafbaa455d57066c5a0e42bc)'),
        'clang', '15.0.7', 'OpenMandriva 15.0.7-3', 'clang'),
    'a clang of one\'s own': (
        GITHUB + 'freemed/tty0tty/issues/59', 'clang version 18.1.8', 'clang', '18.1.8', '', 'clang'),
}

# Strings of a .comment section; gcc writes the same into .ident of its assembly.
COMMENTS = {
    'Debian 11\'s modules': (
        'linux-image-5.10.0-46-amd64, loop.ko', 'GCC: (Debian 10.2.1-6) 10.2.1 20210110',
        'gcc', '10.2.1', 'Debian 10.2.1-6'),
    'Debian 12\'s modules': (
        'tests/unit/module_files/healthy-6.1.ko.xz', 'GCC: (Debian 12.2.0-14+deb12u1) 12.2.0',
        'gcc', '12.2.0', 'Debian 12.2.0-14+deb12u1'),
    'Debian 13\'s modules': (
        'linux-image-6.12.117+deb13-amd64, loop.ko', 'GCC: (Debian 14.2.0-19) 14.2.0',
        'gcc', '14.2.0', 'Debian 14.2.0-19'),
    'Debian, spelt in another way': (
        GITHUB + 'google/llvm-bazel/issues/221', 'GCC: (Debian 10.2.1-6+build2) 10.2.1 20210110',
        'gcc', '10.2.1', 'Debian 10.2.1-6+build2'),
    'Ubuntu 22.04': (
        GITHUB + 'dlang/dmd/pull/16119', 'GCC: (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0',
        'gcc', '11.4.0', 'Ubuntu 11.4.0-1ubuntu1~22.04'),
    'Ubuntu 20.04': (
        GITHUB + 'horsicq/Nauz-File-Detector/issues/16', 'GCC: (Ubuntu 10.2.0-5ubuntu1~20.04) 10.2.0',
        'gcc', '10.2.0', 'Ubuntu 10.2.0-5ubuntu1~20.04'),
    'RHEL 7': (
        'wheel pydantic_core (manylinux2014)', 'GCC: (GNU) 4.8.5 20150623 (Red Hat 4.8.5-44)',
        'gcc', '4.8.5', 'Red Hat 4.8.5-44'),
    'RHEL 7, devtoolset-10': (
        'wheel PyYAML (manylinux2014)', 'GCC: (GNU) 10.2.1 20210130 (Red Hat 10.2.1-11)',
        'gcc', '10.2.1', 'Red Hat 10.2.1-11'),
    'RHEL 8': (
        'GitHub code search: "GCC: (GNU) 8.5.0 20210514 (Red Hat 8.5.0-16)"',
        'GCC: (GNU) 8.5.0 20210514 (Red Hat 8.5.0-16)',
        'gcc', '8.5.0', 'Red Hat 8.5.0-16'),
    'Oracle Linux 8': (
        'GitHub code search: "GCC: (GNU) 8.5.0 20210514 (Red Hat 8.5.0-10.1.0.1)"',
        'GCC: (GNU) 8.5.0 20210514 (Red Hat 8.5.0-10.1.0.1)',
        'gcc', '8.5.0', 'Red Hat 8.5.0-10.1.0.1'),
    'gcc-toolset-14': (
        'wheel cryptography (manylinux_2_34)', 'GCC: (GNU) 14.2.1 20250110 (Red Hat 14.2.1-13)',
        'gcc', '14.2.1', 'Red Hat 14.2.1-13'),
    'gcc-toolset-15': (
        'wheel librt (manylinux_2_28)', 'GCC: (GNU) 15.2.1 20260123 (Red Hat 15.2.1-7)',
        'gcc', '15.2.1', 'Red Hat 15.2.1-7'),
    'Fedora 41': (
        GITHUB + 'N0fix/rustbininfo/pull/6', 'GCC: (GNU) 14.2.1 20240912 (Red Hat 14.2.1-3)',
        'gcc', '14.2.1', 'Red Hat 14.2.1-3'),
    'Amazon Linux 2': (
        GITHUB + 'llvm/llvm-project/issues/60566', 'GCC: (GNU) 7.3.1 20180712 (Red Hat 7.3.1-15)',
        'gcc', '7.3.1', 'Red Hat 7.3.1-15'),
    'SUSE Linux Enterprise 15': (
        'GitHub code search: ".ident GCC: (SUSE Linux) 7.5.0"', 'GCC: (SUSE Linux) 7.5.0',
        'gcc', '7.5.0', 'SUSE Linux'),
    'openSUSE 12': (
        'GitHub code search: "GCC: (SUSE Linux) 4.7.2 20130108 [gcc-4_7-branch"',
        'GCC: (SUSE Linux) 4.7.2 20130108 [gcc-4_7-branch revision 195012]',
        'gcc', '4.7.2', 'SUSE Linux'),
    'openSUSE Tumbleweed': (
        'GitHub code search: "GCC: (SUSE Linux) 15.2.1 20260202"', 'GCC: (SUSE Linux) 15.2.1 20260202',
        'gcc', '15.2.1', 'SUSE Linux'),
    'Arch': (
        GITHUB + 'kaushalmodi/nim_config/pull/12', 'GCC: (GNU) 8.2.1 20181127',
        'gcc', '8.2.1', ''),
    'Linaro\'s cross compiler': (
        GITHUB + 'carloscn/blog/issues/5', 'GCC: (Linaro GCC 7.5-2019.12) 7.5.0',
        'gcc', '7.5.0', 'Linaro GCC 7.5-2019.12'),
    'a very old cross compiler': (
        GITHUB + 'radareorg/radare2/issues/15858', 'GCC: (GNU) 3.3.1 (qnx-nto)',
        'gcc', '3.3.1', 'qnx-nto'),
    'conda-forge': (
        'GitHub code search: "GCC: (conda-forge gcc 16.2.0-4) 16.2.0"', 'GCC: (conda-forge gcc 16.2.0-4) 16.2.0',
        'gcc', '16.2.0', 'conda-forge gcc 16.2.0-4'),
    'clang of Amazon Linux 2': (
        GITHUB + 'llvm/llvm-project/issues/60566', 'clang version 11.1.0 (Amazon Linux 2 11.1.0-1.amzn2.0.2)',
        'clang', '11.1.0', 'Amazon Linux 2 11.1.0-1.amzn2.0.2'),
    'clang of AlmaLinux 8': (
        'wheel librt (manylinux_2_28)', 'clang version 21.1.8 ( 21.1.8-1.module_el8.10.0+4172+b6b13d75)',
        'clang', '21.1.8', '21.1.8-1.module_el8.10.0+4172+b6b13d75'),
    'clang of Android': (
        GITHUB + 'nymtech/nym-vpn-client/pull/4116',
        ('Android (13065274, +pgo, -bolt, +lto, -mlgo, based on r547379) clang version 20.0.0 '
         '(https://android.googlesource.com/toolchain/llvm-project b718bcaf8c198c82f3021447d943401e3ab5bd54)'),
        'clang', '20.0.0', 'Android (13065274, +pgo, -bolt, +lto, -mlgo, based on r547379)'),
    'clang from its sources': (
        GITHUB + 'rust-lang/rust/pull/97550',
        'clang version 14.0.1 (https://github.com/llvm/llvm-project.git c62053979489ccb002efe411c3af059addcb5d7d)',
        'clang', '14.0.1', ''),
    'rustc': (
        GITHUB + 'N0fix/rustbininfo/pull/6', 'rustc version 1.83.0 (90b35a623 2024-11-26)', 'rustc', '1.83.0', ''),
    'a linker is no compiler': (
        GITHUB + 'llvm/llvm-project/issues/60566', 'Linker: LLD 12.0.1', None, None, ''),
    'a linker that names its sources': (
        'wheel cryptography (manylinux_2_34)',
        'Linker: LLD 22.1.8 (/checkout/src/llvm-project/llvm 52ed14fcd56afc30f9cccd8ca8ce237c2eef7e04)',
        None, None, ''),
    'another linker': (
        GITHUB + 'rui314/mold/issues/806',
        'mold 1.6.0 (323ad30e25c2c81efdb07ab76601a119335a40c8; compatible with GNU ld)', None, None, ''),
    'another language': (
        GITHUB + 'dlang/dmd/pull/16119', 'DMD v2.107.0-rc.1-131-g5a72fccdc2', None, None, ''),
}
