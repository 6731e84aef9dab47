# SPDX-License-Identifier: BSD-3-Clause
# The figures of docs/REJUVENATION.md: gnuplot -e "data='DIR'; out='DIR'" figures.gp
set terminal svg size 760,420 font "sans-serif,13" background rgb "white"
set grid
set key outside bottom center horizontal
set format x "10^{%L}"
set logscale xy
set xlabel "hosts"
set ylabel "lost work, millionths"
set xrange [10:100000]
set yrange [200:200000]
set linetype 1 lw 2 lc rgb "#1b7837"
set linetype 2 lw 2 lc rgb "#b2182b"
set linetype 3 lw 2 lc rgb "#2166ac"
set linetype 4 lw 2 lc rgb "#67a9cf"
set linetype 5 lw 2 lc rgb "#998ec3"
set linetype 6 lw 2 lc rgb "#e08214"

set output out."/rejuvenation-seed.svg"
set title "the seed's policies"
f = data."/throughput.dat"
plot f u 1:2 w l lt 1 t "warm reboot", f u 1:3 w l lt 2 t "cold reboot", f u 1:4 w l lt 4 t "plain migration", \
     f u 1:5 w l lt 3 t "live migration", f u 1:6 w l lt 5 t "live, limited rate"

set output out."/rejuvenation-watari.svg"
set title "watari's beside them"
unset logscale y
set yrange [250:700]
f = data."/watari.dat"
plot f u 1:2 w l lt 1 t "warm reboot", f u 1:3 w l lt 2 t "cold reboot", f u 1:4 w l lt 3 t "live migration", \
     f u 1:5 w l lt 5 t "come-back, 219 s boot", f u 1:6 w l lt 5 dt 2 t "come-back, 59 s boot", \
     f u 1:7 w l lt 6 t "handover (QEMU only)"

unset logscale x
set logscale y
set format x "%g"
set ylabel "hosts"
set output out."/rejuvenation-network.svg"
set title "a network of its own: live migration is better from so many hosts on"
set xlabel "part of live migration's loss that is left"
set xrange [0:1]
set yrange [5000:1000000]
f = data."/network.dat"
plot f u 1:2 w l lt 2 t "than cold reboot", f u 1:3 w l lt 1 t "than warm reboot"

set output out."/rejuvenation-spare.svg"
set title "a spare host that works: live migration is better from so many hosts on"
set xlabel "part of the spare host that does other work"
set yrange [100:20000]
f = data."/spare.dat"
plot f u 1:2 w l lt 2 t "than cold reboot"
