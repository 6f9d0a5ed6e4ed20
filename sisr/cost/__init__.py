"""What mechanisms and networks cost: parameters, operations, time and memory.

`specs` reads what the command line names, `handles` counts the operators that fvcore does not, `conventions` has the
paper's way of counting, `measure` puts it together and is the only one that imports torch.
"""
