_base_ = 'mmagic::_base_/default_runtime.py'

# Lets MMagic import on current releases of its dependencies.
custom_imports = dict(imports=['mmdhp'], allow_failed_imports=False)
