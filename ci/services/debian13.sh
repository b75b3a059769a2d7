# placeholder
debian13_select() { fail "rabbitmq4 is not there yet"; }
