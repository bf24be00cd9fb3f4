"""The command `fcnxs`: a module for each sub-command, which parses its arguments and prints.

Begin with `main.py`. The logic of a command is in the library below; what commands share is in `shared/`, and
parts of one command are in the folder named for it. `pretrain.py` made the weights of the demo.

This room may import all of the library; a command never imports a command.
"""
