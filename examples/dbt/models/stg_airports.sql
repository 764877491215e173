{{ config(unique_key='faa') }}

select * from {{ source('ops', 'airports') }}
{% if is_incremental() %}
where updated_at >= (select max(updated_at) from {{ this }})
{% endif %}
