"""The folder of a pruned model, with which it runs where mmdhp is not."""
