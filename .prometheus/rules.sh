#!/bin/sh
# rules.sh FILE: the rules of a PrometheusRule, as a rule file for a Prometheus without the operator, and for promtool.
sed '1,/^spec:/d; s/^  //' "$1"
