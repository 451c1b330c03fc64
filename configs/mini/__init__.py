"""The same grids in small: a part of CIFAR-10 and small networks, hours on two cores."""
