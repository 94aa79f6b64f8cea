module netmend

go 1.26
